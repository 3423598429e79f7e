use super::*;
use crate::config::{Config, Source, load};
use crate::secret::SecretSource;
use proptest::prelude::*;
use rstest::rstest;

/// What the user's deployment sets, as its pod prints it, Kubernetes' own variables among it.
const DEPLOYMENT: &str = "\
PATH=/usr/local/bin:/usr/bin\n\
KUBERNETES_SERVICE_HOST=10.0.0.1\n\
CLICKHOUSE_PORT_9000_TCP=tcp://10.0.0.2:9000\n\
CLICKHOUSE_SERVICE_HOST=10.0.0.2\n\
CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE=true\n\
CLICKHOUSE_EMBEDDED_BACKUP_DISK=s3_backup\n\
CLICKHOUSE_TIMEOUT=4h\n\
BACKUPS_TO_KEEP_LOCAL=14\n\
CLICKHOUSE_USERNAME=backup\n\
CLICKHOUSE_PASSWORD=hunter2\n";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn of(environment: &str) -> Result<Migration, ConfigErrors> {
    let setup = OldSetup::of(Some(env_file::read("old.env", environment)), None)?;
    migrate(&setup, now())
}

/// The configuration of a printed document alone, as `config check --config FILE` reads it.
fn read_back(toml: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, toml).unwrap();
    let source = Source {
        file: Some(file),
        environment: Vec::new(),
    };
    match load(&source, now()) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}\n{toml}"),
    }
}

/// What the variables themselves mean, with the proposed schedule.
fn by_variables(environment: &str) -> Config {
    let read = env_file::read("old.env", environment).variables;
    let mut environment: Vec<(OsString, OsString)> = read
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    environment.push(("BACKUPD_SCHEDULES__DAILY__CRON".into(), CRON.into()));
    let source = Source {
        file: None,
        environment,
    };
    load(&source, now()).unwrap().config
}

#[test]
fn the_users_deployment_becomes_a_file() {
    let migration = of(DEPLOYMENT).unwrap();
    insta::assert_snapshot!(migration.toml);
    insta::assert_snapshot!(migration.warnings.join("\n"));
}

/// Each secret is in a file, and everything else is as it was.
#[test]
fn the_printed_file_means_what_the_variables_mean() {
    let all = format!(
        "{DEPLOYMENT}CLICKHOUSE_HOST=ch\nCLICKHOUSE_PORT=9440\nCLICKHOUSE_SECURE=1\nCLICKHOUSE_SKIP_VERIFY=t\n\
         CLICKHOUSE_SKIP_TABLES=system.*, shop.tmp_*\nAPI_LISTEN=0.0.0.0:7171\nAPI_USERNAME=ops\nAPI_PASSWORD=hunter2\n\
         API_SECURE=true\nAPI_CERTIFICATE_FILE=/c.pem\nAPI_PRIVATE_KEY_FILE=/k.pem\nAPI_ALLOW_PARALLEL=true\nLOG_LEVEL=warning\n"
    );
    for environment in [DEPLOYMENT, &all] {
        let printed = of(environment).unwrap().toml;
        assert!(!printed.contains("hunter2"), "{printed}");
        let (mut read, mut meant) = (read_back(&printed), by_variables(environment));
        let file = |name: &str| Some(SecretSource::File(format!("/run/secrets/{name}").into()));
        assert_eq!(read.clickhouse.password, file("clickhouse-password"));
        read.clickhouse.password = meant.clickhouse.password.clone();
        if let (Some(read), Some(meant)) = (
            &mut read.api.access.operator.basic,
            &meant.api.access.operator.basic,
        ) {
            assert_eq!(Some(read.password.clone()), file("api-password"));
            read.password = meant.password.clone();
        }
        // For clients' backups the variable alone says it, and a warning tells that.
        read.skip_tables = meant.skip_tables.clone();
        read.warnings.clear();
        meant.warnings.clear();
        assert_eq!(read, meant);
    }
}

#[rstest]
#[case(
    "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE=false",
    "copies files itself does not exist"
)]
#[case(
    "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE=maybe",
    "neither true nor false"
)]
#[case(
    "CLICKHOUSE_TIMEOUT=soon",
    "CLICKHOUSE_TIMEOUT: clickhouse.timeout: \"soon\""
)]
#[case("CLICKHOUSE_EMBEDDED_BACKUP_DISK=", "nothing says where backups go")]
#[case("BACKUPS_TO_KEEP_LOCAL=-1", "\"-1\" is no number of backups")]
#[case("CLICKHOUSE_SKIP_TABLES=orders", "has no dot")]
#[case("API_SECURE=true", "API_CERTIFICATE_FILE is not set")]
fn what_stands_against_it_is_told(#[case] line: &str, #[case] expected: &str) {
    let error = of(&format!("{DEPLOYMENT}{line}\n"))
        .unwrap_err()
        .to_string();
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[rstest]
#[case("CLICKHOUSE_PORT=9000", "CLICKHOUSE_PORT=9000 is the native protocol")]
#[case(
    "REMOTE_STORAGE=s3\nS3_BUCKET=b\nS3_SECRET_KEY=hunter2",
    "S3_BUCKET, S3_SECRET_KEY are not taken"
)]
#[case("API_CA_CERT_FILE=/ca.pem", "callers are not asked for certificates")]
#[case(
    "RESTORE_DATABASE_MAPPING=a:b",
    "RESTORE_DATABASE_MAPPING is not taken: give the new names"
)]
#[case(
    "UPLOAD_CONCURRENCY=4\nIO_NICE_PRIORITY=idle",
    "UPLOAD_CONCURRENCY, IO_NICE_PRIORITY do nothing here: ClickHouse moves the data"
)]
#[case(
    "CLICKHOUSE_USER=backup",
    "CLICKHOUSE_USER is no variable of that server, which ignored it; did it mean CLICKHOUSE_USERNAME?"
)]
#[case("CLICKHOUSE_TIMOUT=4h", "did it mean CLICKHOUSE_TIMEOUT?")]
#[case(
    "CLICKHOUSE_SKIP_TABLES=a.b",
    "leave the variable set where those shall leave the tables out"
)]
#[case(
    "S3_ENDPOINT=\"https://s3.example.com\"",
    "old.env:11: S3_ENDPOINT is taken without the quotation marks"
)]
fn what_is_different_is_a_warning(#[case] lines: &str, #[case] expected: &str) {
    let migration = of(&format!("{DEPLOYMENT}{lines}\n")).unwrap();
    let told = migration.warnings.join("\n");
    assert!(told.contains(expected), "{told}");
    assert!(!format!("{told}{}", migration.toml).contains("hunter2"));
    read_back(&migration.toml);
}

#[test]
fn nothing_is_warned_of_that_was_not_asked_for() {
    let told = of(DEPLOYMENT).unwrap().warnings.join("\n");
    for none in ["nothing here", "not taken", "is no variable", "PATH"] {
        assert!(!told.contains(none), "{told}");
    }
    let off = format!("{DEPLOYMENT}S3_DEBUG=false\nS3_CONCURRENCY=0\nUSE_RESUMABLE_STATE=True\n");
    let told = of(&off).unwrap().warnings.join("\n");
    assert!(!told.contains("S3_"), "{told}");
    assert!(
        told.contains("USE_RESUMABLE_STATE does nothing here"),
        "{told}"
    );
}

#[test]
fn what_was_uploaded_where_is_proposed_as_a_comment() {
    let lines = "S3_BUCKET=backups\nS3_PATH=/ch/{cluster}/\nS3_ENDPOINT=https://s3.example.org\nS3_REGION=fsn1\n";
    let toml = of(&format!("{DEPLOYMENT}{lines}")).unwrap().toml;
    for line in [
        "# url = \"s3://backups/ch/{cluster}\"\n",
        "# s3.endpoint = \"https://s3.example.org\"\n",
        "# s3.region = \"fsn1\"\n",
    ] {
        assert!(toml.contains(line), "{toml}");
    }
    assert!(read_back(&toml).destination.view.is_none());
}

#[test]
fn an_address_that_is_called_is_a_secret() {
    let lines = "CALLBACK_URL=https://example.com/x?token=hunter2\nCALLBACK_TIMEOUT=7s\n";
    let Migration { toml, warnings } = of(&format!("{DEPLOYMENT}{lines}")).unwrap();
    let file = "callback_url_file = \"/run/secrets/notify-callback-url\"";
    assert!(
        toml.contains(file) && toml.contains("timeout = \"7s\""),
        "{toml}"
    );
    assert!(
        !format!("{toml}{warnings:?}").contains("hunter2"),
        "{toml}{warnings:?}"
    );
    read_back(&toml);
}

#[test]
fn a_night_gets_no_less_time_than_before() {
    let environment = DEPLOYMENT.replace("TIMEOUT=4h", "TIMEOUT=600m");
    let toml = of(&environment).unwrap().toml;
    assert!(toml.contains("deadline = \"10h\""), "{toml}");
    let config = read_back(&toml);
    assert_eq!(config.worker.timeout, config.schedules["daily"].deadline);
}

#[test]
fn to_keep_nothing_was_to_keep_all() {
    let toml = of(&DEPLOYMENT.replace("LOCAL=14", "LOCAL=0")).unwrap().toml;
    assert!(toml.contains("# [retention]\n# keep_last = 14\n"), "{toml}");
    assert_eq!(read_back(&toml).retention.global, None);
}

const FILE: &str = "\
    general:\n  backups_to_keep_local: 14\n  remote_storage: none\n  watch_interval: 1h\n\
    clickhouse:\n  username: backup\n  password: hunter2\n  timeout: 4h\n  use_embedded_backup_restore: true\n  embedded_backup_disk: s3_backup\n";

#[test]
fn the_yaml_file_means_what_its_variables_mean() {
    let setup = OldSetup::of(None, Some(("config.yml", FILE))).unwrap();
    let migration = migrate(&setup, now()).unwrap();
    assert_eq!(migration, of(DEPLOYMENT).unwrap());
}

#[test]
fn variables_are_above_the_file_unless_it_says_otherwise() {
    let both = |file: &str| {
        let environment = env_file::read("e", "CLICKHOUSE_TIMEOUT=5h\nCLICKHOUSE_PASSWORD=\n");
        let setup = OldSetup::of(Some(environment), Some(("config.yml", file))).unwrap();
        migrate(&setup, now()).unwrap()
    };
    let toml = both(FILE).toml;
    assert!(
        toml.contains("timeout = \"5h\"") && toml.contains("password_file"),
        "{toml}"
    );
    let alone = FILE.replace(
        "general:\n",
        "general:\n  disable_environment_override: true\n",
    );
    let Migration { toml, warnings } = both(&alone);
    assert!(toml.contains("timeout = \"4h\""), "{toml}");
    let told = warnings.join("\n");
    assert!(told.contains("variables are passed over"), "{told}");
}

#[test]
fn files_are_read_and_their_absence_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (environment, yaml) = (dir.path().join("old.env"), dir.path().join("config.yml"));
    std::fs::write(&environment, DEPLOYMENT).unwrap();
    std::fs::write(&yaml, FILE).unwrap();
    for (environment, yaml) in [
        (Some(&environment), None),
        (None, Some(&yaml)),
        (Some(&environment), Some(&yaml)),
    ] {
        let setup =
            OldSetup::read(environment.map(AsRef::as_ref), yaml.map(AsRef::as_ref)).unwrap();
        assert_eq!(migrate(&setup, now()).unwrap(), of(DEPLOYMENT).unwrap());
    }
    let absent = dir.path().join("absent");
    let error = OldSetup::read(Some(&absent), None)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("cannot read the file of variables") && error.contains("--env-file"),
        "{error}"
    );
    let error = OldSetup::read(None, Some(dir.path()))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("cannot read the YAML file") && error.contains("not its folder"),
        "{error}"
    );
}

proptest! {
    /// Whatever the variables say: a file that is printed is valid, and holds no secret.
    #[test]
    fn what_is_printed_is_valid(
        given in proptest::collection::vec(
            (proptest::sample::select(variables::all()), "\\PC{0,12}|true|4h|14|a\\.b|[a-z0-9./:*_]{1,12}"),
            0..12,
        )
    ) {
        let mut setup = OldSetup::of(Some(env_file::read("e", DEPLOYMENT)), None).unwrap();
        for (variable, value) in given {
            setup.variables.insert(variable.name.to_owned(), value);
        }
        setup.variables.insert("CLICKHOUSE_PASSWORD".to_owned(), "S3cret-S3cret".to_owned());
        match migrate(&setup, now()) {
            Ok(Migration { toml, warnings }) => {
                read_back(&toml);
                let told = format!("{toml}{warnings:?}");
                prop_assert!(!told.contains("S3cret"), "{}", told);
            }
            Err(errors) => {
                let told = errors.to_string();
                prop_assert!(!told.contains("S3cret"), "{}", told);
            }
        }
    }
}
