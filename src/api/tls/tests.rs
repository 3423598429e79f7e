use super::*;
use crate::api::testing::Fixture;
use crate::api::{Access, ServeError, Settings, build};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::subscriber::NoSubscriber;

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

struct Serving {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
    _api: Fixture,
}

fn serve(files: Tls) -> Serving {
    let api = Fixture::new();
    let settings = Settings {
        listen: "127.0.0.1:0".to_owned(),
        access: Access::default(),
        tls: Some(files),
        allow_parallel: false,
    };
    let bound = build(&settings).unwrap();
    let (address, stop) = (bound.address(), CancellationToken::new());
    let mut state = api.state.clone();
    state.stop = stop.clone();
    let serving = bound.serve(state);
    Serving {
        address,
        stop,
        task: tokio::spawn(serving),
        _api: api,
    }
}

impl Serving {
    /// Whether a client that trusts exactly this certificate gets its answer.
    async fn answers(&self, trusted: &'static str) -> bool {
        let address = self.address;
        let answer = spawn_blocking(move || ask(address, trusted)).await.unwrap();
        answer.is_ok_and(|text| text.ends_with("{\"status\":\"OK\"}\n"))
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// What was logged by this thread while the value lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn https_is_served_with_the_configured_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let serving = serve(write(dir.path(), CERTIFICATE, KEY));
    assert!(serving.answers(CERTIFICATE).await);
    let trusts_another = serving.answers(RENEWED_CERTIFICATE).await;
    assert!(!trusts_another, "the client trusts another certificate");
    serving.end().await;
}

#[tokio::test]
async fn http_on_the_https_port_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let serving = serve(write(dir.path(), CERTIFICATE, KEY));
    let address = serving.address;
    for request in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "POST /backup/create"] {
        let speak = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let answer = spawn_blocking(speak).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        let length = format!("Content-Length: {}\r\n", body.len());
        assert!(head.contains(&length), "{head}");
        assert_eq!(body, "this port speaks HTTPS: ask again with https://\n");
    }
    assert!(serving.answers(CERTIFICATE).await);
    serving.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_served_without_a_restart_and_a_broken_one_is_logged() {
    let log = Log::default();
    let (dir, writer) = (tempfile::tempdir().unwrap(), log.clone());
    let lines = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let _logged = tracing::subscriber::set_default(lines.finish());
    // With one subscriber alone, a test on another thread that logs first decides that nobody listens.
    let _second = tracing::Dispatch::new(NoSubscriber::new());
    let serving = serve(write(dir.path(), CERTIFICATE, KEY));
    let look = || tokio::time::sleep(LOOK_INTERVAL + Duration::from_secs(1));
    assert!(serving.answers(CERTIFICATE).await);
    write(dir.path(), "half a certif", RENEWED_KEY);
    look().await;
    assert!(serving.answers(CERTIFICATE).await, "the old one goes on");
    let text = log.text();
    assert!(
        text.contains("WARN") && text.contains("tls.crt holds no certificate"),
        "{text}"
    );
    write(dir.path(), RENEWED_CERTIFICATE, RENEWED_KEY);
    look().await;
    assert!(serving.answers(RENEWED_CERTIFICATE).await);
    assert!(!serving.answers(CERTIFICATE).await);
    assert!(log.text().contains("the API serves a new certificate"));
    serving.end().await;
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
