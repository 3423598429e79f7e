-- The right to restore, apart from the right to back up: who restores can write every table.
-- Run backup-user.sql first, then this one in the same way, with another password.
--
-- The daemon has one user. Where it shall restore, too, there are two ways:
--   for as long as it is needed     GRANT backupd_restore TO backup; … REVOKE backupd_restore FROM backup
--   always                          let the daemon work as `backup_restore` instead of `backup`
-- Without either, a restore over the API ends as an error (497, not enough privileges), and the
-- statement that `clickhouse-backupd backup show NAME` prints restores by hand, as this user.

CREATE ROLE IF NOT EXISTS backupd_restore;

-- What RESTORE asks for, for databases, tables, views, dictionaries and their rows. There is no
-- privilege of the name RESTORE.
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, INSERT ON *.* TO backupd_restore;

-- What `rm` and `--drop` do before it: drop the tables that are in the way. Leave it out, and such a
-- restore fails without having dropped anything.
GRANT DROP TABLE, DROP VIEW, DROP DICTIONARY ON *.* TO backupd_restore;

CREATE USER IF NOT EXISTS backup_restore
    IDENTIFIED WITH sha256_password BY {password:String}
    SETTINGS max_execution_time = 0;
GRANT backupd_backup, backupd_restore TO backup_restore;

-- Only where backups hold it (`functions = true`, `access = true`), where tables read other systems
-- (S3, MySQL, Kafka), or where the server demands grants for engines:
-- GRANT CREATE FUNCTION ON *.* TO backupd_restore;
-- GRANT ACCESS MANAGEMENT ON *.* TO backupd_restore WITH GRANT OPTION;
-- GRANT SOURCES ON *.* TO backupd_restore;
-- GRANT TABLE ENGINE ON * TO backupd_restore;
