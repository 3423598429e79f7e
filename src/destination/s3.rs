//! The S3 client: whose address, whose keys, how patient.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key, AwsCredential};
use object_store::{
    BackoffConfig, Certificate, ClientOptions, CredentialProvider, HeaderValue, RetryConfig,
};
use secrecy::ExposeSecret as _;

use super::ViewSettings;
use super::error::SetupError;
use crate::secret::SecretSource;

/// Region where none is given: what S3 servers other than Amazon's take.
const REGION_DEFAULT: &str = "us-east-1";
/// Largest file of certificates that is read, in bytes.
const CA_FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// How long a request may take and how often it is tried.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// One request, its answer included.
    pub request: Duration,
    /// Tries after the first.
    pub retries: usize,
    /// After this no further try begins.
    pub tries_within: Duration,
    /// Pause before the second try; it doubles.
    pub first_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(60),
            retries: 4,
            tries_within: Duration::from_secs(30),
            first_pause: Duration::from_millis(100),
        }
    }
}

/// Makes the client; nothing is asked yet.
/// The second value says whether keys come from files and may be others at the next request.
///
/// # Errors
/// When the endpoint, the CA file or the keys are none.
pub fn client(
    settings: &ViewSettings,
    bucket: &str,
    patience: &Patience,
) -> Result<(AmazonS3, bool), SetupError> {
    let endpoint = settings.s3_endpoint.as_deref().map(Endpoint::parse);
    let endpoint = endpoint.transpose()?;
    let is_plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.is_plain);
    let (mut builder, rereads) = credentials(settings)?;
    if let Some(region) = &settings.s3_region {
        builder = builder.with_region(region);
    } else if builder.get_config_value(&Key::Region).is_none() {
        builder = builder.with_region(REGION_DEFAULT);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.url(bucket, settings.s3_virtual_hosted_style));
    }
    builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(settings.s3_virtual_hosted_style)
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: patience.first_pause,
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: patience.retries,
            retry_timeout: patience.tries_within,
        })
        .with_client_options(options(settings, is_plain, patience)?)
        .build()
        .map(|client| (client, rereads))
        .map_err(|error| SetupError::Client(super::error::shown(&error)))
}

fn options(
    settings: &ViewSettings,
    is_plain: bool,
    patience: &Patience,
) -> Result<ClientOptions, SetupError> {
    let agent = concat!("clickhouse-backupd/", env!("CARGO_PKG_VERSION"));
    // The builder's own with_allow_http would be undone by with_client_options.
    let mut options = ClientOptions::new()
        .with_allow_http(is_plain)
        .with_user_agent(HeaderValue::from_static(agent))
        .with_connect_timeout(patience.connect)
        .with_timeout(patience.request);
    for certificate in certificates(settings)? {
        options = options.with_root_certificate(certificate);
    }
    Ok(options)
}

fn certificates(settings: &ViewSettings) -> Result<Vec<Certificate>, SetupError> {
    let Some(path) = &settings.s3_ca_file else {
        return Ok(Vec::new());
    };
    let refuse = |problem: String| SetupError::CaFile {
        path: path.clone(),
        problem,
    };
    let found = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    if !found.is_file() || found.len() > CA_FILE_MAX_BYTES {
        return Err(refuse("it is no regular file of at most 4 MiB".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    match Certificate::from_pem_bundle(&bytes) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(refuse("it holds no certificate".to_owned())),
        Err(error) => Err(refuse(super::error::shown(&error))),
    }
}

/// An S3 server's address.
#[derive(Debug)]
struct Endpoint {
    is_plain: bool,
    /// Host, port and path.
    rest: String,
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, SetupError> {
        let refuse = |problem: &str| SetupError::Endpoint {
            // An address may hold a password before an @.
            endpoint: text.rsplit('@').next().unwrap_or_default().to_owned(),
            problem: problem.to_owned(),
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| refuse("it has no scheme"))?;
        let is_plain = match scheme {
            "http" => true,
            "https" => false,
            _ => return Err(refuse("its scheme is neither http nor https")),
        };
        let rest = rest.trim_end_matches('/');
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "@?#".contains(c);
        if rest.is_empty() || rest.starts_with(['/', ':']) || rest.contains(is_odd) {
            return Err(refuse(
                "its host is missing, or it has more than a host, a port and a path",
            ));
        }
        Ok(Self {
            is_plain,
            rest: rest.to_owned(),
        })
    }

    /// Where the library wants it: with the bucket in the host's name, or without.
    fn url(&self, bucket: &str, is_virtual_hosted: bool) -> String {
        let scheme = if self.is_plain { "http" } else { "https" };
        let rest = &self.rest;
        if is_virtual_hosted {
            format!("{scheme}://{bucket}.{rest}")
        } else {
            format!("{scheme}://{rest}")
        }
    }
}

/// A builder that has keys or knows where to get them, and nothing else.
fn credentials(settings: &ViewSettings) -> Result<(AmazonS3Builder, bool), SetupError> {
    let missing = |missing| SetupError::HalfOfKeys { missing };
    match (&settings.s3_access_key_id, &settings.s3_secret_access_key) {
        (Some(id), Some(secret)) => {
            let keys = Keys {
                id: id.clone(),
                secret: secret.clone(),
            };
            keys.read()?;
            let rereads = [id, secret]
                .iter()
                .any(|source| matches!(source, SecretSource::File(_)));
            let builder = AmazonS3Builder::new().with_credentials(Arc::new(keys));
            Ok((builder, rereads))
        }
        (None, None) => Ok((from_environment(&AmazonS3Builder::from_env()), false)),
        (Some(_), None) => Err(missing("s3.secret_access_key")),
        (None, Some(_)) => Err(missing("s3.access_key_id")),
    }
}

/// Of the environment only what the provider chain needs. A stray `AWS_ENDPOINT_URL`, `AWS_BUCKET`,
/// `AWS_SKIP_SIGNATURE` or `AWS_PROXY_URL` would otherwise make us look at another place.
fn from_environment(environment: &AmazonS3Builder) -> AmazonS3Builder {
    [
        Key::AccessKeyId,
        Key::SecretAccessKey,
        Key::Token,
        Key::Region,
        Key::WebIdentityTokenFile,
        Key::RoleArn,
        Key::RoleSessionName,
        Key::StsEndpoint,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
        Key::ContainerAuthorizationTokenFile,
        Key::MetadataEndpoint,
        Key::ImdsV1Fallback,
    ]
    .into_iter()
    .fold(AmazonS3Builder::new(), |builder, key| {
        match environment.get_config_value(&key) {
            Some(value) => builder.with_config(key, value),
            None => builder,
        }
    })
}

/// Configured keys, read again for every request: a rotated file needs no restart.
#[derive(Debug)]
struct Keys {
    id: SecretSource,
    secret: SecretSource,
}

impl Keys {
    fn read(&self) -> Result<AwsCredential, crate::secret::SecretError> {
        Ok(AwsCredential {
            key_id: self.id.read()?.expose_secret().to_owned(),
            secret_key: self.secret.read()?.expose_secret().to_owned(),
            token: None,
        })
    }
}

type Reading<'a> =
    Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'a>>;

impl CredentialProvider for Keys {
    type Credential = AwsCredential;

    fn get_credential<'life, 'trait_>(&'life self) -> Reading<'trait_>
    where
        'life: 'trait_,
        Self: 'trait_,
    {
        // Two files of some bytes on the node's memory disk: reading them takes microseconds.
        let read = self.read().map(Arc::new);
        Box::pin(async move {
            read.map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::testing::view;

    #[test]
    fn of_the_environment_only_the_provider_chain_is_taken() {
        let environment = AmazonS3Builder::new()
            .with_config(Key::AccessKeyId, "id")
            .with_config(Key::SecretAccessKey, "secret")
            .with_config(Key::Token, "token")
            .with_config(Key::Region, "eu-central-1")
            .with_config(Key::RoleArn, "arn")
            .with_config(Key::Endpoint, "http://elsewhere")
            .with_config(Key::S3Endpoint, "http://elsewhere")
            .with_config(Key::Bucket, "elsewhere")
            .with_config(Key::SkipSignature, "true")
            .with_config(Key::VirtualHostedStyleRequest, "true");
        let taken = from_environment(&environment);
        let value = |key: Key| taken.get_config_value(&key);
        assert_eq!(value(Key::AccessKeyId).as_deref(), Some("id"));
        assert_eq!(value(Key::Token).as_deref(), Some("token"));
        assert_eq!(value(Key::Region).as_deref(), Some("eu-central-1"));
        assert_eq!(value(Key::RoleArn).as_deref(), Some("arn"));
        assert_eq!(value(Key::Endpoint), None);
        assert_eq!(value(Key::S3Endpoint), None);
        assert_eq!(value(Key::Bucket), None);
        assert_eq!(value(Key::SkipSignature).as_deref(), Some("false"));
        assert_eq!(
            value(Key::VirtualHostedStyleRequest).as_deref(),
            Some("false")
        );
    }

    #[test]
    fn endpoints() {
        let url = |text: &str, hosted| Endpoint::parse(text).map(|found| found.url("b", hosted));
        assert_eq!(
            url("https://s3.example/", false).unwrap(),
            "https://s3.example"
        );
        assert_eq!(url("http://s3:9000", true).unwrap(), "http://b.s3:9000");
        for bad in [
            "s3.example",
            "ftp://x",
            "http://",
            "https://:9",
            "http://a?b",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        let text = url("http://me:hunter2@host", false)
            .unwrap_err()
            .to_string();
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn what_cannot_be_set_up_says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent");
        let patience = Patience::default();
        let refused = |settings: &ViewSettings| {
            client(settings, "bucket", &patience)
                .unwrap_err()
                .to_string()
        };
        let mut settings = view("s3://bucket/p", "http://127.0.0.1:1");
        settings.s3_secret_access_key = Some(SecretSource::File(absent.clone()));
        assert!(refused(&settings).contains("absent"));
        settings.s3_secret_access_key = None;
        assert!(refused(&settings).contains("s3.secret_access_key is missing"));
        let mut settings = view("s3://bucket/p", "http://127.0.0.1:1");
        settings.s3_ca_file = Some(absent);
        assert!(refused(&settings).contains("absent"));
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        settings.s3_ca_file = Some(empty);
        assert!(refused(&settings).contains("empty.pem"));
    }
}
