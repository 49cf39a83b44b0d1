//! Where backups are kept: a directory, or a bucket of an S3-compatible store.
//!
//! Both are object stores to the one who writes backups: whole files under names, each there
//! or not, durable when `put` returns. Keys for S3 come from the environment, as every tool for S3
//! takes them (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, `AWS_REGION` …).
//! Calls block; they must not come from a thread of an async runtime.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::runtime::Runtime;

/// How long a store that does not answer is tried.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// A place for backups.
pub(super) struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    shown: String,
    runtime: Runtime,
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither a directory nor a bucket.
    #[error("'{0}' is not a place for backups: name a directory, or s3://BUCKET/PREFIX")]
    NotAPlace(String),
    /// The directory to restore from is not there.
    #[error("there is no directory {0}")]
    NoDirectory(String),
    /// It did not answer, or refused.
    #[error("{what}: {why}")]
    Failed {
        /// Of which file, or of all.
        what: String,
        /// What it said.
        why: String,
    },
    /// A file that must be there is not.
    #[error("{0} is missing")]
    Missing(String),
    /// A file is larger than such files are.
    #[error("{what} has {bytes} bytes; none of Tandem's is that long")]
    TooLong {
        /// Which file.
        what: String,
        /// How long.
        bytes: u64,
    },
}

impl Store {
    /// A directory, which is made if `create`, or `s3://BUCKET/PREFIX`. `endpoint`: where S3 is, if not
    /// at Amazon and not as the environment says.
    pub(super) fn open(
        place: &str,
        endpoint: Option<&str>,
        create: bool,
    ) -> Result<Store, StoreError> {
        let failed = |why: String| StoreError::Failed {
            what: place.to_owned(),
            why,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| failed(e.to_string()))?;
        let (objects, root): (Arc<dyn ObjectStore>, _) = match place.split_once("://") {
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(StoreError::NotAPlace(place.to_owned()));
                }
                let bucket = s3(bucket, endpoint).map_err(|e| failed(because(&e)))?;
                (Arc::new(bucket), Path::from(prefix))
            }
            Some(_) => return Err(StoreError::NotAPlace(place.to_owned())),
            None if place.is_empty() => return Err(StoreError::NotAPlace(place.to_owned())),
            None => {
                let folder = std::path::Path::new(place);
                if create {
                    super::files::create_dir(folder).map_err(|e| failed(e.to_string()))?;
                } else if !folder.is_dir() {
                    return Err(StoreError::NoDirectory(place.to_owned()));
                }
                let files = LocalFileSystem::new_with_prefix(folder);
                let files = files.map_err(|e| failed(because(&e)))?;
                (Arc::new(files.with_fsync(true)), Path::default())
            }
        };
        Ok(Store {
            objects,
            root,
            shown: place.trim_end_matches('/').to_owned(),
            runtime,
        })
    }

    /// Writes a file; it is there whole, or not.
    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let path = self.path(name);
        let put = self.runtime.block_on(self.objects.put(&path, bytes.into()));
        put.map(drop).map_err(|e| self.failed(name, &e))
    }

    /// Reads a file that has at most so many bytes.
    pub(super) fn get(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let get = async {
            let found = self.objects.get(&self.path(name)).await?;
            if found.meta.size > bytes_max {
                return Ok(Err(found.meta.size));
            }
            Ok(Ok(found.bytes().await?))
        };
        match self.runtime.block_on(get) {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(bytes)) => Err(StoreError::TooLong {
                what: self.shown(name),
                bytes,
            }),
            Err(e) => Err(self.failed(name, &e)),
        }
    }

    /// The files in a folder, and their lengths.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let listed = self.listed(folder)?.objects.into_iter();
        let named = |meta: object_store::ObjectMeta| {
            Some((meta.location.filename()?.to_owned(), meta.size))
        };
        Ok(listed.filter_map(named).collect())
    }

    /// The folders at the top.
    pub(super) fn folders(&self) -> Result<Vec<String>, StoreError> {
        let listed = self.listed("")?.common_prefixes.into_iter();
        Ok(listed
            .filter_map(|path| Some(path.filename()?.to_owned()))
            .collect())
    }

    /// Deletes a file.
    pub(super) fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match self.runtime.block_on(self.objects.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed(name, &e)),
        }
    }

    /// A file's name, for people.
    pub(super) fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.shown)
    }

    fn listed(&self, folder: &str) -> Result<object_store::ListResult, StoreError> {
        let path = self.path(folder);
        let listing = self.objects.list_with_delimiter(Some(&path));
        self.runtime
            .block_on(listing)
            .map_err(|e| self.failed(folder, &e))
    }

    fn path(&self, name: &str) -> Path {
        let parts = name.split('/').filter(|part| !part.is_empty());
        parts.fold(self.root.clone(), |path, part| path.join(part))
    }

    fn failed(&self, name: &str, error: &object_store::Error) -> StoreError {
        let what = self.shown(name);
        match error {
            object_store::Error::NotFound { .. } => StoreError::Missing(what),
            other => StoreError::Failed {
                what,
                why: because(other),
            },
        }
    }
}

fn s3(bucket: &str, endpoint: Option<&str>) -> object_store::Result<object_store::aws::AmazonS3> {
    // One provider for all of the process; whoever comes second finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let named = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"];
    let named = named.iter().find_map(|name| std::env::var(name).ok());
    let endpoint = endpoint.map(str::to_owned).or(named);
    let retry = RetryConfig {
        retry_timeout: RETRY_FOR,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry);
    if let Some(endpoint) = endpoint {
        builder = builder
            .with_allow_http(endpoint.starts_with("http://"))
            .with_endpoint(endpoint);
    }
    builder.build()
}

/// What went wrong, and why, in one line.
fn because(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let mut said: Vec<String> = Vec::new();
    for cause in causes.map(|e| e.to_string().replace('\n', " ")) {
        // Many say their cause's words again.
        if !said.iter().any(|before| before.contains(&cause)) {
            said.push(cause);
        }
    }
    said.join(": ")
}
