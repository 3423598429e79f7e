-- The user that the daemon works as: it can back up everything, and change nothing of it.
-- Run it as a user that may manage access:
--   clickhouse-client --param_password="$(cat password)" --ignore-error --queries-file backup-user.sql
-- A user that is there already keeps its password and settings.

CREATE ROLE IF NOT EXISTS backupd_backup;

-- What BACKUP asks for: on the databases that it names, or on everything.
GRANT BACKUP ON *.* TO backupd_backup;

-- What there is to back up. system.tables and system.databases show only what the user may see.
GRANT SHOW DATABASES, SHOW TABLES, SHOW COLUMNS, SHOW DICTIONARIES ON *.* TO backupd_backup;

-- What runs and what came of it, what kind of disk it is, and what can be cancelled: KILL QUERY
-- ends a user's own queries without a grant, but looks for them in system.processes.
-- The tables that anybody may read are named for servers that are stricter than usual.
GRANT SELECT ON system.backups TO backupd_backup;
GRANT SELECT ON system.disks TO backupd_backup;
GRANT SELECT ON system.processes TO backupd_backup;
GRANT SELECT ON system.databases TO backupd_backup;
GRANT SELECT ON system.tables TO backupd_backup;
GRANT SELECT ON system.one TO backupd_backup;

-- A profile with a limit would end long backups, those with ASYNC, too.
-- No default role is named: with one, a role that is granted later would not count over HTTP.
CREATE USER IF NOT EXISTS backup
    IDENTIFIED WITH sha256_password BY {password:String}
    SETTINGS max_execution_time = 0;
GRANT backupd_backup TO backup;

-- The next two come last, because older servers do not understand them.

-- To and from a disk: recent servers ask for it beside their own <allowed_disk>, others know neither
-- the question nor the answer.
GRANT READ, WRITE ON DISK TO backupd_backup;

-- A backup is looked into through a database that is attached for a moment: by
-- `config check --connect`, and before tables are dropped where the daemon has no view of its own.
-- Without it those two are refused, and everything else works.
GRANT CREATE DATABASE, DROP DATABASE ON _backupd_probe_*.* TO backupd_backup;

-- With destination.collection instead of a disk, these two:
-- GRANT NAMED COLLECTION ON backups TO backupd_backup;
-- GRANT READ, WRITE ON S3 TO backupd_backup;
