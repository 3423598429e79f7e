//! A real S3 server inside the test: `s3s-fs`, objects as files, with faults where a test wants
//! them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::S3ServiceBuilder;
use s3s::{S3ErrorCode, S3Result};
use tempfile::TempDir;
use tokio::sync::watch;

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
    /// It waits, and is asked about again whenever there is another rule.
    Hold,
}

type Rule = Box<dyn FnMut(&Seen) -> Act + Send>;

/// A server that ends with the test.
pub struct S3 {
    /// Its address.
    pub url: String,
    /// The bucket's objects, as files.
    pub bucket: PathBuf,
    /// The keys it takes: `access` with the secret `secret`, until a test says otherwise.
    pub keys: Keys,
    shared: Arc<Shared>,
    _root: TempDir,
}

#[derive(Default)]
struct Shared {
    rule: Mutex<Option<Rule>>,
    /// How many rules there were.
    rules: watch::Sender<u64>,
}

/// Keys that are taken, with their secrets, and keys that are not any more, with what is said to them.
#[derive(Clone, Default)]
pub struct Keys(Arc<Mutex<HashMap<String, Result<SecretKey, S3ErrorCode>>>>);

impl Keys {
    /// Takes this key from now on.
    pub fn allow(&self, key: &str, secret: &str) {
        let secret = SecretKey::from(secret);
        self.0.lock().unwrap().insert(key.to_owned(), Ok(secret));
    }

    /// Answers requests by this key with an error from now on.
    pub fn revoke(&self, key: &str, code: S3ErrorCode) {
        self.0.lock().unwrap().insert(key.to_owned(), Err(code));
    }
}

type Lookup<'a> = Pin<Box<dyn Future<Output = S3Result<SecretKey>> + Send + 'a>>;

impl S3Auth for Keys {
    fn get_secret_key<'life0, 'life1, 'trait_>(&'life0 self, key: &'life1 str) -> Lookup<'trait_>
    where
        'life0: 'trait_,
        'life1: 'trait_,
        Self: 'trait_,
    {
        let unknown = || Err(S3ErrorCode::InvalidAccessKeyId);
        let found = self.0.lock().unwrap().get(key).cloned();
        let answer = found.unwrap_or_else(unknown).map_err(Into::into);
        Box::pin(async { answer })
    }
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

    /// Whether it lists everything in the folder of this backup, as removals and proofs do.
    pub fn lists(&self, backup: &str) -> bool {
        self.method == "GET"
            && self.query.contains("list-type=2")
            && !self.query.contains("delimiter")
            && self.query.contains(&format!("%2F{backup}%2F"))
    }
}

impl S3 {
    /// Starts one with a bucket of this name.
    pub async fn start(bucket: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(bucket);
        std::fs::create_dir(&folder).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        let keys = Keys::default();
        keys.allow("access", "secret");
        builder.set_auth(keys.clone());
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let state = shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, state) = (service.clone(), state.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (service, state) = (service.clone(), state.clone());
                    async move {
                        match state.act(&request).await {
                            Act::Pass => hyper::service::Service::call(&service, request).await,
                            Act::Refuse(status) => Ok(refusal(status)),
                            Act::PassUnanswered => {
                                let _ = hyper::service::Service::call(&service, request).await;
                                std::future::pending().await
                            }
                            Act::Hang | Act::Hold => std::future::pending().await,
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
            keys,
            shared,
            _root: root,
        }
    }

    /// From now on this decides what becomes of each request.
    pub fn rule(&self, rule: impl FnMut(&Seen) -> Act + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Some(Box::new(rule));
        self.shared.rules.send_modify(|rules| *rules += 1);
    }

    /// Every request is served again.
    pub fn heal(&self) {
        *self.shared.rule.lock().unwrap() = None;
        self.shared.rules.send_modify(|rules| *rules += 1);
    }
}

impl Shared {
    async fn act(&self, request: &Request<Incoming>) -> Act {
        let seen = Seen {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
        };
        loop {
            // Before the question: a rule that comes after it is not missed.
            let mut rules = self.rules.subscribe();
            let act = match self.rule.lock().unwrap().as_mut() {
                Some(rule) => rule(&seen),
                None => Act::Pass,
            };
            if act != Act::Hold {
                return act;
            }
            // It ends with the server only.
            let _ = rules.changed().await;
        }
    }
}

fn refusal(status: u16) -> s3s::HttpResponse {
    let code = match status {
        400 => "InvalidRequest",
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
