//! TLS of our own: a certificate and its key from two files, read again when they change.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use shared::{config::Env, shutdown::CancellationToken};
use tokio_rustls::TlsAcceptor;

/// Certificate chain in PEM, the server's own first.
pub const ENV_CERT: &str = "TLS_CERT";
/// Its private key in PEM.
pub const ENV_KEY: &str = "TLS_KEY";
/// How often the files are looked at. Certificates are renewed days before they end.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where the certificate and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain in PEM.
    pub cert: PathBuf,
    /// Private key in PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {wanted} in PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// They do not go together, or are of no use.
    #[error("the certificate {} and its key cannot be used: {source}", path.display())]
    Rustls {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl TlsFiles {
    /// Both or neither.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        match (env.get(ENV_CERT), env.get(ENV_KEY)) {
            (Some(cert), Some(key)) => Some(Self { cert: cert.into(), key: key.into() }),
            (None, None) => None,
            (cert, _) => {
                let missing = if cert.is_some() { ENV_KEY } else { ENV_CERT };
                env.fault(format!("{missing} is not set: {ENV_CERT} and {ENV_KEY} go together"));
                None
            }
        }
    }

    fn read(&self) -> Result<Contents, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
        Ok(Contents { cert: read(&self.cert)?, key: read(&self.key)? })
    }
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Contents {
    fn certified(&self, files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
        let bad = |path: &Path, wanted| TlsError::Pem { path: path.to_owned(), wanted };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(|_| bad(&files.cert, "certificate"))?;
        if chain.is_empty() {
            return Err(bad(&files.cert, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| bad(&files.key, "private key"))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|source| TlsError::Rustls { path: files.cert.clone(), source })
    }
}

/// The certificate in use.
pub struct Tls {
    files: TlsFiles,
    read: Mutex<Contents>,
    newest: Arc<Newest>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Newest(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let newest = Arc::new(Newest(ArcSwap::from_pointee(contents.certified(&files)?)));
        Ok(Self { files, read: Mutex::new(contents), newest })
    }

    /// What accepts connections, always with the newest certificate.
    ///
    /// # Errors
    /// When the provider of cryptography knows no version of TLS.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Rustls { path: self.files.cert.clone(), source })?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Newest>::clone(&self.newest);
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again; whether they changed to something that can be used. What cannot be used changes nothing, and is
    /// an error once.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub fn look(&self) -> Result<bool, TlsError> {
        let contents = self.files.read()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *read == contents {
            return Ok(false);
        }
        let certified = contents.certified(&self.files);
        *read = contents;
        self.newest.0.store(Arc::new(certified?));
        Ok(true)
    }

    /// Looks at the files every few seconds until `stop`.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.look()).await {
                Ok(Ok(false)) | Err(_) => {}
                Ok(Ok(true)) => tracing::info!("the TLS certificate was read anew"),
                Ok(Err(error)) => tracing::error!(%error, "the TLS certificate stays the one before"),
            }
        }
    }
}
