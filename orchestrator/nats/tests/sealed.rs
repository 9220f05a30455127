//! TLS on both sides, and a credentials file, against real servers.

#![expect(clippy::unwrap_used, reason = "tests")]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tercet_nats::{ConnectError, Login, Settings, Texts, connect};
use tercet_servers::nats::{Setup, Version};

/// An authority, and certificates that it vouches for.
struct Papers {
    folder: TempDir,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Papers {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut own = CertificateParams::new(Vec::new()).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(folder.path().join("ca.pem"), own.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(own, key) }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `NAME.pem` and `NAME.key`, for `host`.
    fn write(&self, name: &str, host: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), leaf.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn both_sides_show_certificates_and_neither_takes_anothers() {
    for version in Version::ALL {
        let (ours, theirs) = (Papers::new(), Papers::new());
        ours.write("server", "127.0.0.1");
        ours.write("client", "tercet");
        theirs.write("client", "tercet");
        let file = |name: &str| ours.path(name);
        let tls = format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
            file("server.pem"),
            file("server.key"),
            file("ca.pem"),
        );
        let server = Setup::default().lines(&tls).start(version).unwrap();
        let texts = |ca: String, certificate: Option<(String, String)>| {
            let (tls_cert, tls_key) = certificate.unzip();
            Texts { url: server.url(), tls_ca: Some(ca), tls_cert, tls_key, ..Texts::default() }.read().unwrap()
        };
        let own = Some((file("client.pem"), file("client.key")));
        let client = connect(&texts(file("ca.pem"), own.clone()), "test").await.unwrap();
        client.flush().await.unwrap();

        let stranger = connect(&texts(theirs.path("ca.pem"), own), "test").await.unwrap_err();
        assert!(!matches!(stranger, ConnectError::Refused { .. }), "{stranger}");
        let other = Some((theirs.path("client.pem"), theirs.path("client.key")));
        assert!(connect(&texts(file("ca.pem"), other), "test").await.is_err(), "a certificate of somebody else's");
        assert!(connect(&texts(file("ca.pem"), None), "test").await.is_err(), "no certificate");
        let missing = connect(&texts(file("none.pem"), None), "test").await.unwrap_err();
        assert!(matches!(missing, ConnectError::File { .. }), "{missing}");
    }
}

/// A JWT as nats-server reads it: who vouches, for whom, for what.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &str) -> String {
    let (iss, sub) = (issuer.public_key(), subject.public_key());
    let claims =
        format!(r#"{{"jti":"{sub}","iat":1700000000,"iss":"{iss}","name":"test","sub":"{sub}","nats":{nats}}}"#);
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn credentials(folder: &Path, name: &str, account: &KeyPair) -> PathBuf {
    let user = KeyPair::new_user();
    let nats = r#"{"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2}"#;
    let (jwt, seed) = (jwt(account, &user, nats), user.seed().unwrap());
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_credentials_file_is_shown_and_one_of_another_account_is_not_let_in() {
    for version in Version::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (operator, account, stranger) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let limits =
            r#"{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1}"#;
        let own = jwt(&operator, &operator, r#"{"type":"operator","version":2}"#);
        let vouched = jwt(&operator, &account, &format!(r#"{{"limits":{limits},"type":"account","version":2}}"#));
        let lines =
            format!("operator: {own}\nresolver: MEMORY\nresolver_preload: {{ {}: {vouched} }}", account.public_key());
        let server = Setup::default().lines(&lines).start(version).unwrap();
        let with = |path: PathBuf| Settings { login: Login::Credentials(path), ..Settings::of(&server.url()).unwrap() };
        let client = connect(&with(credentials(folder.path(), "own.creds", &account)), "test").await.unwrap();
        client.flush().await.unwrap();
        let other = connect(&with(credentials(folder.path(), "other.creds", &stranger)), "test").await.unwrap_err();
        assert!(other.to_string().contains("it refuses these credentials"), "{other}");
    }
}
