use super::*;
use crate::api::testing::Fixture;
use crate::api::{Settings, build};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

// Two self-signed certificates for localhost, made for these tests and used nowhere else.
const CERTIFICATE: &str = include_str!("../../../tests/tls/localhost.crt");
const KEY: &str = include_str!("../../../tests/tls/localhost.key");
const RENEWED_CERTIFICATE: &str = include_str!("../../../tests/tls/renewed.crt");
const RENEWED_KEY: &str = include_str!("../../../tests/tls/renewed.key");

fn write(dir: &Path, certificate: &str, key: &str) -> Tls {
    let files = Tls {
        certificate_file: dir.join("tls.crt"),
        private_key_file: dir.join("tls.key"),
    };
    std::fs::write(&files.certificate_file, certificate).unwrap();
    std::fs::write(&files.private_key_file, key).unwrap();
    files
}

/// Asks over TLS, trusting exactly this certificate.
fn ask(address: SocketAddr, trusted: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[tokio::test]
async fn https_is_served_with_the_configured_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let api = Fixture::new();
    let settings = Settings {
        listen: "127.0.0.1:0".to_owned(),
        credentials: None,
        tls: Some(write(dir.path(), CERTIFICATE, KEY)),
        allow_parallel: false,
    };
    let bound = build(&settings).unwrap();
    let address = bound.address();
    let stop = CancellationToken::new();
    let mut state = api.state.clone();
    state.stop = stop.clone();
    let serving = tokio::spawn(bound.serve(state));
    let answer = spawn_blocking(move || ask(address, CERTIFICATE))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.ends_with("{\"status\":\"OK\"}\n"), "{answer}");
    let other = spawn_blocking(move || ask(address, RENEWED_CERTIFICATE))
        .await
        .unwrap();
    assert!(other.is_err(), "the client trusts another certificate");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = Certificate::load(write(dir.path(), CERTIFICATE, KEY)).unwrap();
    let config = certificate.config();
    let first = config.get_inner();
    let watching = tokio::spawn(certificate.keep_fresh());
    let look = || tokio::time::sleep(LOOK_INTERVAL + Duration::from_secs(1));
    look().await;
    assert!(Arc::ptr_eq(&first, &config.get_inner()), "nothing changed");
    write(dir.path(), RENEWED_CERTIFICATE, KEY);
    look().await;
    assert!(
        Arc::ptr_eq(&first, &config.get_inner()),
        "the key is another one's"
    );
    write(dir.path(), RENEWED_CERTIFICATE, RENEWED_KEY);
    look().await;
    assert!(!Arc::ptr_eq(&first, &config.get_inner()));
    watching.abort();
}

#[test]
fn what_is_wrong_with_a_file_is_said_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let load = |certificate: &str, key: &str| {
        Certificate::load(write(dir.path(), certificate, key))
            .unwrap_err()
            .to_string()
    };
    assert!(load(CERTIFICATE, RENEWED_KEY).contains("cannot be used together"));
    assert!(load("", KEY).contains("tls.crt holds no certificate"));
    let text = load(CERTIFICATE, "s3cret");
    assert!(
        text.contains("tls.key holds no private key") && !text.contains("s3cret"),
        "{text}"
    );
    let absent = Tls {
        certificate_file: dir.path().join("absent"),
        private_key_file: dir.path().join("tls.key"),
    };
    assert!(
        Certificate::load(absent)
            .unwrap_err()
            .to_string()
            .contains("absent")
    );
}
