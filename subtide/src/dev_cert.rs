//! `subtide dev-cert`: a certificate for a LAN. Browsers give a microphone to secure pages only.
//!
//! A small certificate authority of one's own is made once and kept beside the certificates; devices that trust it trust
//! every certificate made with it later.

use std::{
    fs,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::output::{OutputError, print_line};

/// How long the authority is good.
const CA_LIFE: Duration = Duration::from_secs(5 * 365 * 86_400);
/// How long a certificate is good: Apple's devices take none for longer than 825 days, whoever made it.
const CERT_LIFE: Duration = Duration::from_secs(398 * 86_400);
/// Clocks of devices may be behind.
const BEFORE: Duration = Duration::from_secs(86_400);

/// What `dev-cert` takes on the command line.
#[derive(Debug, clap::Args)]
pub struct DevCertArgs {
    /// Name or address under which this machine is reached; as often as there are any. `localhost` is always in it.
    #[arg(long, required = true)]
    host: Vec<String>,
    /// Directory for the four files.
    #[arg(long, default_value = "dev-cert")]
    out: PathBuf,
}

/// Makes a certificate, and an authority for it where there is none yet.
///
/// # Errors
/// When a name is none, or a file cannot be written.
pub fn run(args: &DevCertArgs) -> anyhow::Result<()> {
    fs::create_dir_all(&args.out).with_context(|| format!("{} cannot be made", args.out.display()))?;
    let (ca_cert, ca_key) = (args.out.join("ca.pem"), args.out.join("ca-key.pem"));
    let made = !ca_key.is_file();
    if made {
        make_authority(&ca_cert, &ca_key)?;
    }
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
    let key = KeyPair::from_pem(&read(&ca_key)?).with_context(|| format!("{} holds no key", ca_key.display()))?;
    let issuer = Issuer::from_ca_cert_pem(&read(&ca_cert)?, key)
        .with_context(|| format!("{} is no certificate of an authority", ca_cert.display()))?;
    let names = names(&args.host)?;
    let leaf_key = KeyPair::generate()?;
    let leaf = leaf_of(&names)?.signed_by(&leaf_key, &issuer)?;
    let (cert, key) = (args.out.join("cert.pem"), args.out.join("key.pem"));
    write_private(&key, &leaf_key.serialize_pem())?;
    fs::write(&cert, leaf.pem()).with_context(|| format!("{} cannot be written", cert.display()))?;
    Ok(report(&names, made, [&cert, &key, &ca_cert])?)
}

fn names(hosts: &[String]) -> anyhow::Result<Vec<String>> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    for host in hosts {
        let host = host.trim_matches(['[', ']']);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '*');
        if host.parse::<IpAddr>().is_err() && (host.is_empty() || !host.chars().all(plain)) {
            bail!("`{host}` is neither a name nor an address; write --host captions.local or --host 192.168.1.20");
        }
        if !names.iter().any(|name| name == host) {
            names.push(host.to_owned());
        }
    }
    Ok(names)
}

fn live_for(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + life).into();
}

fn make_authority(cert: &Path, key: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Subtide development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    live_for(&mut params, CA_LIFE);
    let pair = KeyPair::generate()?;
    let signed = params.self_signed(&pair)?;
    write_private(key, &pair.serialize_pem())?;
    fs::write(cert, signed.pem()).with_context(|| format!("{} cannot be written", cert.display()))
}

fn leaf_of(names: &[String]) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    let name = names.get(3).or(names.first()).cloned().unwrap_or_default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    live_for(&mut params, CERT_LIFE);
    Ok(params)
}

/// Writes a file that nobody else may read. One that is there is replaced, not written into: it may have been readable.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = || -> std::io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(text.as_bytes())
    };
    written().with_context(|| format!("{} cannot be written", path.display()))
}

fn report(names: &[String], made: bool, [cert, key, ca]: [&PathBuf; 3]) -> Result<(), OutputError> {
    let ca = ca.display();
    let trust = if made { "Trust" } else { "Still trust" };
    let lines = [
        format!("certificate for {} (398 days):", names.join(", ")),
        format!("  TLS_CERT={}", cert.display()),
        format!("  TLS_KEY={}\n", key.display()),
        format!("{trust} {ca} on each device, once, and only on devices of your own:"),
        format!("  Linux    sudo cp {ca} /usr/local/share/ca-certificates/subtide.crt && sudo update-ca-certificates"),
        "           Chrome and Firefox keep lists of their own: settings, certificates, authorities, import".to_owned(),
        format!("  macOS    sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {ca}"),
        format!("  Windows  certutil -addstore -f Root {ca}   (as administrator)"),
        "  Android  settings, security, encryption and credentials, install a certificate, CA certificate".to_owned(),
        "  iOS      open the file, install the profile, then settings, general, about, certificate trust settings"
            .to_owned(),
        "\nWho has ca-key.pem can make certificates that these devices believe: keep it, or delete it when done."
            .to_owned(),
    ];
    lines.iter().try_for_each(|line| print_line(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(directory: &Path, hosts: &[&str]) -> DevCertArgs {
        DevCertArgs { host: hosts.iter().map(|host| (*host).to_owned()).collect(), out: directory.to_owned() }
    }

    #[test]
    fn a_second_certificate_comes_from_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        run(&args(directory.path(), &["captions.local", "192.168.1.20"])).unwrap();
        let (ca, cert, key) = (read("ca.pem"), read("cert.pem"), read("key.pem"));
        run(&args(directory.path(), &["other.local"])).unwrap();
        assert_eq!(read("ca.pem"), ca);
        assert!(read("cert.pem") != cert && read("key.pem") != key);
        #[cfg(unix)]
        for name in ["key.pem", "ca-key.pem"] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_named() {
        assert_eq!(names(&["[::1]".to_owned(), "a.b".to_owned()]).unwrap().len(), 4);
        let error = names(&["https://captions.local".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("https://captions.local"), "{error}");
    }
}
