//! Two S3 servers in this process: one that makes up a huge folder, and a real one that counts.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use clickhouse_backupd::destination::{Destination, ViewSettings};
use clickhouse_backupd::secret::SecretSource;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use crate::quick::Quick;
use crate::requests::{Counter, Counts};

/// Objects in one answer to a list, as Amazon has it.
const PAGE_OBJECTS: u64 = 1_000;

/// The keys that it takes.
pub const ACCESS_KEY: &str = "access";
pub const SECRET_KEY: &str = "secret";

/// Where it listens, and what requests came.
pub struct Server {
    pub endpoint: String,
    asked: Arc<Counter>,
}

impl Server {
    async fn start(router: axum::Router, asked: Arc<Counter>) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        // Head and body of an answer are two writes, between which the kernel would wait for 40 ms.
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { endpoint, asked })
    }

    /// Requests since the last call.
    pub fn asked(&self) -> Counts {
        self.asked.take()
    }

    /// How many came since then; they are not forgotten.
    pub fn asked_so_far(&self) -> u64 {
        self.asked.total()
    }

    pub fn view(&self) -> anyhow::Result<Destination> {
        Ok(Destination::open(&ViewSettings {
            url: "s3://bucket".to_owned(),
            s3_endpoint: Some(self.endpoint.clone()),
            s3_region: None,
            s3_virtual_hosted_style: false,
            s3_ca_file: None,
            s3_access_key_id: Some(SecretSource::from(ACCESS_KEY)),
            s3_secret_access_key: Some(SecretSource::from(SECRET_KEY)),
        })?)
    }

    /// The library alone, with the keys of the server.
    pub fn bare(&self) -> anyhow::Result<AmazonS3> {
        Ok(AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_bucket_name("bucket")
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .build()?)
    }

    /// One folder `one` with the manifest in this file and the objects that it names; it takes no
    /// memory and no disk, and asks for no keys.
    pub async fn made_up(manifest: &Path, files: u64) -> anyhow::Result<Self> {
        let manifest = Arc::new(std::fs::File::open(manifest)?);
        let asked: Arc<Counter> = Arc::default();
        let counted = asked.clone();
        let router = axum::Router::new().fallback(move |request: Request| {
            counted.count(request.method(), request.uri().query().unwrap_or_default());
            let manifest = manifest.clone();
            async move {
                let answer = match request.headers().get("range") {
                    Some(range) => part(&manifest, range.to_str().unwrap_or_default()),
                    None => Ok(page(request.uri().query().unwrap_or_default(), files)),
                };
                answer.unwrap_or_else(|error| {
                    (StatusCode::BAD_REQUEST, error.to_string()).into_response()
                })
            }
        });
        Self::start(router, asked).await
    }

    /// `s3s-fs` on this folder, which has a bucket called `bucket`.
    pub async fn real(root: &Path) -> anyhow::Result<Self> {
        let mut builder = S3ServiceBuilder::new(Quick::new(root)?);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let asked: Arc<Counter> = Arc::default();
        let counted = asked.clone();
        let router = axum::Router::new().fallback(move |request: Request| {
            counted.count(request.method(), request.uri().query().unwrap_or_default());
            let service = service.clone();
            async move {
                let request = request.map(s3s::Body::http_body_unsync);
                match service.call(request).await {
                    Ok(answer) => Response::from(answer.map(Body::new)),
                    Err(error) => {
                        (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}")).into_response()
                    }
                }
            }
        });
        Self::start(router, asked).await
    }
}

fn part(manifest: &std::fs::File, range: &str) -> anyhow::Result<Response> {
    let range = range.strip_prefix("bytes=").context("no range")?;
    let (first, last) = range.split_once('-').context("no range")?;
    let size = manifest.metadata()?.len();
    let (first, last) = (first.parse::<u64>()?, last.parse::<u64>()?.min(size - 1));
    let mut bytes = vec![0; usize::try_from(last + 1 - first)?];
    manifest.read_exact_at(&mut bytes, first)?;
    let headers = [
        ("content-range", format!("bytes {first}-{last}/{size}")),
        ("last-modified", "Sun, 22 Nov 2026 00:00:00 GMT".to_owned()),
        ("etag", "\"one\"".to_owned()),
    ];
    Ok((StatusCode::PARTIAL_CONTENT, headers, bytes).into_response())
}

/// The continuation token is the number of the first object of the page.
fn page(query: &str, files: u64) -> Response {
    use std::fmt::Write as _;
    let token = query
        .split('&')
        .find_map(|part| part.strip_prefix("continuation-token="));
    let first = token.and_then(|token| token.parse().ok()).unwrap_or(0);
    let next = (first + PAGE_OBJECTS).min(files);
    let mut body = String::from("<ListBucketResult>");
    for number in first..next {
        let _ = write!(
            body,
            "<Contents><Key>one/{}</Key><LastModified>2026-11-22T00:00:00.000Z</LastModified><ETag>\"d41d8cd98f00b204e9800998ecf8427e\"</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            name(number),
            size(number)
        );
    }
    if next < files {
        let _ = write!(
            body,
            "<NextContinuationToken>{next}</NextContinuationToken>"
        );
    }
    body.push_str("</ListBucketResult>");
    body.into_response()
}

/// The name of a file as ClickHouse makes them.
pub fn name(number: u64) -> String {
    let (table, part) = (number / 10_000, number / 10);
    format!(
        "data/shop/table_{table}/{part}_{part}_0/column_{}.bin",
        number % 10
    )
}

/// Its size in bytes.
pub fn size(number: u64) -> u64 {
    1 + number % 100_000
}
