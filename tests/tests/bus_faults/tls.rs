//! Redis behind TLS, with an authority of our own.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use shared::{
    bus::{Bus, BusError, Produce, RedisBus, RedisSettings},
    config::Env,
};
use tempfile::TempDir;
use tests::{redis_server::RedisServer, stack::free_addr};

const PATIENCE: Duration = Duration::from_secs(60);

/// An authority, a certificate for 127.0.0.1, one for a client, and another authority: files in a directory.
struct Pki(TempDir);

impl Pki {
    fn new() -> Self {
        let pki = Self(tempfile::tempdir().unwrap());
        let (ours, _) = (pki.authority("ca"), pki.authority("other-ca"));
        let mut server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        pki.leaf("server", server, &ours);
        let mut client = CertificateParams::new(["gateway".to_owned()]).unwrap();
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        pki.leaf("client", client, &ours);
        pki
    }

    fn authority(&self, name: &str) -> Issuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        fs::write(self.path(&format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    }

    fn leaf(&self, name: &str, mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) {
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), cert.pem()).unwrap();
        fs::write(self.path(&format!("{name}-key.pem")), key.serialize_pem()).unwrap();
    }

    fn path(&self, file: &str) -> String {
        Path::join(self.0.path(), file).display().to_string()
    }

    /// A server that speaks TLS too, and where; `clients`: whether they must show a certificate.
    async fn server(&self, clients: &str) -> (RedisServer, u16) {
        let port = free_addr().port();
        let (cert, key, ca) = (self.path("server.pem"), self.path("server-key.pem"), self.path("ca.pem"));
        let port_text = port.to_string();
        let arguments = ["--tls-port", &port_text, "--tls-cert-file", &cert, "--tls-key-file", &key];
        let arguments = [&arguments[..], &["--tls-ca-cert-file", &ca, "--tls-auth-clients", clients]].concat();
        (RedisServer::spawn_with(&arguments).await, port)
    }

    /// What the environment says, with these files of ours.
    fn settings(&self, url: &str, files: &[(&str, &str)]) -> RedisSettings {
        let file = |index: usize| files.get(index).map(|(key, file)| (*key, self.path(file)));
        let mut env = match (file(0), file(1), file(2)) {
            (Some((ca_key, ca)), Some((cert_key, cert)), Some((key_key, key))) => {
                Env::of([("REDIS_URL", url), (ca_key, &ca), (cert_key, &cert), (key_key, &key)])
            }
            (Some((ca_key, ca)), ..) => Env::of([("REDIS_URL", url), (ca_key, &ca)]),
            _ => Env::of([("REDIS_URL", url)]),
        };
        let settings = RedisSettings::from_env(&mut env).unwrap();
        env.finish().unwrap();
        settings
    }
}

async fn refused(settings: &RedisSettings) -> String {
    let error = RedisBus::open(settings).await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named_and_no_other() {
    let pki = Pki::new();
    let (_server, port) = pki.server("no").await;
    let url = format!("rediss://127.0.0.1:{port}/");
    let bus = RedisBus::open(&pki.settings(&url, &[("REDIS_TLS_CA", "ca.pem")])).await.unwrap();
    let job =
        Produce { stream: "jobs".into(), idempotency_key: "1".into(), payload: Bytes::from_static(b"x"), set: None };
    bus.produce(job).await.unwrap();
    let mut reader = bus.group_reader("jobs", "workers", "a").await.unwrap();
    assert_eq!(reader.next(1, PATIENCE).await.unwrap().len(), 1, "readers come by TLS too");

    for files in [&[("REDIS_TLS_CA", "other-ca.pem")][..], &[]] {
        let said = refused(&pki.settings(&url, files)).await;
        assert!(said.contains("certificate") && said.contains("REDIS_TLS_CA"), "{said}");
    }
    let by_name = format!("rediss://localhost:{port}/");
    let said = refused(&pki.settings(&by_name, &[("REDIS_TLS_CA", "ca.pem")])).await;
    assert!(said.contains("not valid for name"), "{said}");
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let pki = Pki::new();
    let (_server, port) = pki.server("yes").await;
    let url = format!("rediss://127.0.0.1:{port}/");
    let files = [("REDIS_TLS_CA", "ca.pem"), ("REDIS_TLS_CERT", "client.pem"), ("REDIS_TLS_KEY", "client-key.pem")];
    RedisBus::open(&pki.settings(&url, &files)).await.unwrap().ping().await.unwrap();
    refused(&pki.settings(&url, &files[..1])).await;
}

#[tokio::test]
async fn certificates_without_tls_are_a_fault() {
    let pki = Pki::new();
    for url in ["redis://127.0.0.1:1/", "redis+sentinel://127.0.0.1:1/main"] {
        let error = RedisBus::open(&pki.settings(url, &[("REDIS_TLS_CA", "ca.pem")])).await.unwrap_err();
        assert!(matches!(error, BusError::Url { .. }) && error.to_string().contains("rediss://"), "{error}");
    }
}
