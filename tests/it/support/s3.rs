//! A real S3 server inside the test: `s3s-fs`, objects as files, with faults where a test wants
//! them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is served.
    Pass,
    /// It is answered with this status, and nothing happens.
    Refuse(u16),
    /// It is served, and never answered.
    PassUnanswered,
    /// It is never answered, and nothing happens.
    Hang,
}

type Rule = Box<dyn FnMut(&Seen) -> Act + Send>;

/// A server that ends with the test.
pub struct S3 {
    /// Its address.
    pub url: String,
    /// The bucket's objects, as files.
    pub bucket: PathBuf,
    shared: Arc<Shared>,
    _root: TempDir,
}

#[derive(Default)]
struct Shared {
    rule: Mutex<Option<Rule>>,
}

impl Seen {
    /// Whether it changes anything.
    pub fn is_write(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "POST" | "DELETE")
    }

    /// Whether it removes many objects at once.
    pub fn is_bulk_delete(&self) -> bool {
        self.method == "POST" && self.query.starts_with("delete")
    }
}

impl S3 {
    /// Starts one with a bucket of this name; the key is `access`, its secret `secret`.
    pub async fn start(bucket: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(bucket);
        std::fs::create_dir(&folder).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("access", "secret"));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let state = shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, state) = (service.clone(), state.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (service, act) = (service.clone(), state.act(&request));
                    async move {
                        match act {
                            Act::Pass => hyper::service::Service::call(&service, request).await,
                            Act::Refuse(status) => Ok(refusal(status)),
                            Act::PassUnanswered => {
                                let _ = hyper::service::Service::call(&service, request).await;
                                std::future::pending().await
                            }
                            Act::Hang => std::future::pending().await,
                        }
                    }
                });
                tokio::spawn(async move {
                    Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), answer)
                        .await
                });
            }
        });
        Self {
            url,
            bucket: folder,
            shared,
            _root: root,
        }
    }

    /// From now on this decides what becomes of each request.
    pub fn rule(&self, rule: impl FnMut(&Seen) -> Act + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Every request is served again.
    pub fn heal(&self) {
        *self.shared.rule.lock().unwrap() = None;
    }
}

impl Shared {
    fn act(&self, request: &Request<Incoming>) -> Act {
        let seen = Seen {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
        };
        match self.rule.lock().unwrap().as_mut() {
            Some(rule) => rule(&seen),
            None => Act::Pass,
        }
    }
}

fn refusal(status: u16) -> s3s::HttpResponse {
    let code = match status {
        403 => "AccessDenied",
        503 => "SlowDown",
        _ => "InternalError",
    };
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>by the test</Message></Error>"
    );
    hyper::Response::builder()
        .status(status)
        .header("content-type", "application/xml")
        .body(s3s::Body::from(text))
        .unwrap()
}
