//! For tests: a real S3 server (`s3s-fs`) behind a front that counts requests and makes faults, and
//! folders as ClickHouse leaves them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;

use super::s3::Patience;
use super::{Destination, ViewSettings};
use crate::secret::SecretSource;

/// A view with inline keys.
pub fn view(url: &str, endpoint: &str) -> ViewSettings {
    ViewSettings {
        url: url.to_owned(),
        s3_endpoint: Some(endpoint.to_owned()),
        s3_region: None,
        s3_virtual_hosted_style: false,
        s3_ca_file: None,
        s3_access_key_id: Some(SecretSource::from("access")),
        s3_secret_access_key: Some(SecretSource::from("secret-of-the-tests")),
    }
}

/// A view of a folder.
pub fn folder_view(path: &Path) -> Destination {
    let mut settings = view(&format!("file://{}", path.display()), "");
    settings.s3_endpoint = None;
    Destination::open(&settings).unwrap()
}

/// Tests do not wait for seconds.
pub fn impatient() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        request: Duration::from_secs(5),
        retries: 4,
        tries_within: Duration::from_secs(20),
        first_pause: Duration::from_millis(2),
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub kind: &'static str,
    pub path: String,
    pub range: Option<String>,
    pub authorization: String,
    pub agent: String,
}

impl Asked {
    fn new(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let header = |name: &str| {
            let value = request.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let is_below_bucket = request.uri().path().trim_matches('/').contains('/');
        Self {
            kind: match request.method().as_str() {
                "GET" if query.contains("list-type=2") => "list",
                "GET" if is_below_bucket => "get",
                "HEAD" => "head",
                "PUT" => "put",
                "POST" if query.contains("delete") => "delete",
                _ => "other",
            },
            path: request.uri().path().to_owned(),
            range: header("range"),
            authorization: header("authorization").unwrap_or_default(),
            agent: header("user-agent").unwrap_or_default(),
        }
    }
}

/// What the front does in place of asking the server.
pub enum Fault {
    Answer(u16, String),
    Silence,
}

type Faults = Arc<dyn Fn(&Asked, usize) -> Option<Fault> + Send + Sync>;

/// The server; it ends with the test's runtime.
pub struct S3 {
    pub endpoint: String,
    /// The bucket `bucket`, objects as files.
    pub bucket: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
    faults: Arc<Mutex<Option<Faults>>>,
    _dir: TempDir,
}

impl S3 {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bucket = dir.path().join("bucket");
        std::fs::create_dir(&bucket).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).unwrap());
        let mut auth = SimpleAuth::from_single("access", "secret-of-the-tests");
        auth.register("rotated".to_owned(), "secret-of-tomorrow".into());
        builder.set_auth(auth);
        let service = builder.build();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let faults: Arc<Mutex<Option<Faults>>> = Arc::default();
        let (told, made) = (asked.clone(), faults.clone());
        let router = axum::Router::new().fallback(move |request: Request| {
            let (service, told, made) = (service.clone(), told.clone(), made.clone());
            async move {
                let asked = Asked::new(&request);
                let number = {
                    let mut told = told.lock().unwrap();
                    told.push(asked.clone());
                    told.iter().filter(|other| other.kind == asked.kind).count()
                };
                let faults = made.lock().unwrap().clone();
                match faults.and_then(|faults| faults(&asked, number)) {
                    Some(Fault::Silence) => std::future::pending().await,
                    Some(Fault::Answer(status, body)) => {
                        let status = axum::http::StatusCode::from_u16(status).unwrap();
                        (status, body).into_response()
                    }
                    None => {
                        let request = request.map(s3s::Body::http_body_unsync);
                        let answer = service.call(request).await.unwrap();
                        Response::from(answer.map(Body::new))
                    }
                }
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            endpoint,
            bucket,
            asked,
            faults,
            _dir: dir,
        }
    }

    /// A view of `s3://bucket/prefix`.
    pub fn view(&self) -> Destination {
        Destination::open_with(&view("s3://bucket/prefix", &self.endpoint), &impatient()).unwrap()
    }

    /// Where the objects of that view lie.
    pub fn prefix(&self) -> PathBuf {
        self.bucket.join("prefix")
    }

    /// `faults` gets each request and its number among those of its kind, from 1.
    pub fn make(&self, faults: impl Fn(&Asked, usize) -> Option<Fault> + Send + Sync + 'static) {
        self.asked.lock().unwrap().clear();
        *self.faults.lock().unwrap() = Some(Arc::new(faults));
    }

    pub fn heal(&self) {
        *self.faults.lock().unwrap() = None;
    }

    /// What came since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The kinds of what came since the last call, in order.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.asked().iter().map(|asked| asked.kind).collect()
    }
}

/// The manifest of a real backup; see `fixtures/README.md`.
pub fn fixture(name: &str) -> String {
    let file = format!("src/destination/fixtures/{name}.xml");
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Size and key of its objects.
pub fn fixture_objects(name: &str) -> Vec<(u64, String)> {
    let file = format!("src/destination/fixtures/{name}.objects");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    text.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(size, key)| (size.parse().unwrap(), key.to_owned()))
        .collect()
}

/// Puts it below `root`; the contents of its objects are zeros.
pub fn put_fixture(root: &Path, name: &str) {
    for (size, key) in fixture_objects(name) {
        put(
            root,
            &format!("{name}/{key}"),
            &vec![0; size.try_into().unwrap()],
        );
    }
    put(root, &format!("{name}/.backup"), fixture(name).as_bytes());
}

/// Writes an object below `root`.
pub fn put(root: &Path, key: &str, body: &[u8]) {
    let path = root.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, body).unwrap();
}
