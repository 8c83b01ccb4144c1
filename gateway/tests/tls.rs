//! TLS of our own, with a real client: certificates that change, certificates that are no good, clients that say nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod house;

use std::{fs, path::Path, sync::Arc, time::Duration};

use gateway::{GatewayConfig, http::tls::TlsFiles};
use house::{House, PATIENCE, converse, request};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use shared::bus::MemoryBus;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Writes a certificate of its own for `localhost`, and hands it back.
fn certify(files: &TlsFiles) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    fs::write(&files.cert, cert.pem()).unwrap();
    CertificateDer::from_pem_slice(cert.pem().as_bytes()).unwrap()
}

/// A connection that trusts `root` alone.
async fn connect(gateway: &House, root: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(gateway.addr).await?).await
}

async fn until_trusted(gateway: &House, root: &CertificateDer<'static>) {
    let give_up = Instant::now() + PATIENCE;
    while connect(gateway, root).await.is_err() {
        assert!(Instant::now() < give_up, "the new certificate is not used");
        sleep(Duration::from_millis(200)).await;
    }
}

fn files(directory: &Path) -> TlsFiles {
    TlsFiles { cert: directory.join("cert.pem"), key: directory.join("key.pem") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_and_a_bad_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let first = certify(&files);
    let config = GatewayConfig { tls: Some(files.clone()), ..GatewayConfig::loopback() };
    let gateway = House::open(config, Arc::new(MemoryBus::new())).await;
    // Clients that say nothing keep nobody from connecting.
    let mut silent = [TcpStream::connect(gateway.addr).await.unwrap(), TcpStream::connect(gateway.addr).await.unwrap()];
    // The head of a handshake record that promises more.
    silent[1].write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.unwrap();
    let mut stream = connect(&gateway, &first).await.unwrap();
    let host = [("Host", "localhost")];
    let answer = converse(&mut stream, &request(gateway.addr, "GET", "/v1/openapi.json", &host, "")).await;
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, "max-age=31536000"));
    let second = certify(&files);
    until_trusted(&gateway, &second).await;
    assert!(connect(&gateway, &first).await.is_err(), "the first is no longer shown");
    let answer = converse(&mut stream, &request(gateway.addr, "GET", "/nothing", &host, "")).await;
    assert_eq!(answer.status, 404, "what was open stays open");
    fs::write(&files.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    // Longer than the files are left alone.
    sleep(Duration::from_secs(7)).await;
    connect(&gateway, &second).await.expect("the one before is still shown");
    let third = certify(&files);
    until_trusted(&gateway, &third).await;
    for silent in &mut silent {
        let cut = timeout(PATIENCE, silent.read(&mut [0])).await.expect("who does not go on is cut off");
        assert!(matches!(cut, Ok(0) | Err(_)), "{cut:?}");
    }
    drop(stream);
    gateway.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let error = |files: &TlsFiles| gateway::http::tls::Tls::open(files.clone()).unwrap_err().to_string();
    assert!(error(&files).contains("cert.pem cannot be read"));
    certify(&files);
    fs::write(&files.key, "").unwrap();
    assert!(error(&files).contains("key.pem holds no private key"));
    fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(error(&files).contains("cannot be used"), "{}", error(&files));
}
