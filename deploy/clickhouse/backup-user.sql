-- The user that the daemon works as: it can back up everything, and change nothing of it.
-- Run it as a user that may manage access:
--   clickhouse-client --param_password="$(cat password)" --queries-file backup-user.sql
-- A user that is there already keeps its password and settings.

CREATE ROLE IF NOT EXISTS backupd_backup;

-- BACKUP asks for this one alone: on the databases that it names, or on everything.
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

-- A backup is looked into through a database that is attached for a moment: by
-- `config check --connect`, and before tables are dropped where the daemon has no view of its own.
-- It is the last one, because older servers refuse a * in a name; all else works there.
GRANT CREATE DATABASE, DROP DATABASE ON _backupd_probe_*.* TO backupd_backup;

-- With destination.collection instead of a disk, these two as well:
-- GRANT NAMED COLLECTION ON backups TO backupd_backup;
-- GRANT S3 ON *.* TO backupd_backup;
