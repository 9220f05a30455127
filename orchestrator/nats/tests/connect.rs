//! Connections to real servers: every way to log in, and what is said when it fails.

#![expect(clippy::unwrap_used, reason = "tests")]

use tercet_nats::{ConnectError, Login, Settings, connect, urls};
use tercet_servers::nats::{Nats, Setup, Version};

/// A user's nkey: its seed and its public half. It is used here alone.
const SEED: &str = "SUAGN7W76TM2CITCOVUL35BHTCSC67BUZBVJ6QEATMMYM2JV76FUZJJA6Y";
const PUBLIC: &str = "UD32XLBF2EZTDBBPR72W5W6J4Q4AH3YHPVIRS5OCSHGR44GIGDVRABUS";

async fn said(server: &Nats, login: Login) -> Result<(), ConnectError> {
    let settings = Settings { login, ..Settings::of(&server.url()).unwrap() };
    let client = connect(&settings, "test").await?;
    client.flush().await.unwrap();
    Ok(())
}

fn user(password: &str) -> Login {
    Login::User { name: "tercet".to_owned(), password: password.to_owned() }
}

#[tokio::test]
async fn every_login_is_let_in_and_a_wrong_one_is_named() {
    for version in Version::ALL {
        let server = Setup::default().user("tercet", "right horse").start(version).unwrap();
        said(&server, user("right horse")).await.unwrap();
        let wrong = said(&server, user("wrong horse")).await.unwrap_err();
        assert!(
            wrong.to_string().ends_with("it refuses this user and password; check `nats.*` in the settings"),
            "{wrong}"
        );
        let nobody = said(&server, Login::Anonymous).await.unwrap_err();
        assert!(nobody.to_string().contains("it refuses clients that show nothing"), "{nobody}");
        assert!(!format!("{wrong:?} {nobody:?}").contains("horse"));

        let server = Setup::default().token("0123456789").start(version).unwrap();
        said(&server, Login::Token("0123456789".to_owned())).await.unwrap();
        assert!(said(&server, Login::Token("9876543210".to_owned())).await.is_err());

        let server = Setup::default().nkey(PUBLIC).start(version).unwrap();
        said(&server, Login::Nkey(SEED.to_owned())).await.unwrap();
        let none = said(&server, Login::Nkey("nonsense".to_owned())).await.unwrap_err();
        assert!(matches!(none, ConnectError::Seed { .. }), "{none}");
    }
}

#[tokio::test]
async fn a_password_in_the_url_is_used_and_never_shown() {
    let server = Setup::default().user("tercet", "horse").start(Version::Floor).unwrap();
    let with = |password: &str| server.url().replace("nats://", &format!("nats://tercet:{password}@"));
    connect(&Settings::of(&with("horse")).unwrap(), "test").await.unwrap();
    let settings = Settings::of(&with("donkey")).unwrap();
    let wrong = connect(&settings, "test").await.unwrap_err();
    assert!(wrong.to_string().contains("this user and password") && !format!("{wrong:?}{wrong}").contains("donkey"));
    assert!(!settings.to_string().contains("donkey"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let mut server = Nats::start(Version::Floor).unwrap();
    server.kill();
    let gone = said(&server, Login::Anonymous).await.unwrap_err();
    let at = server.url().replace("nats://", "");
    let text = format!(
        "failed to reach NATS at {at}: Connection refused (os error 111); start nats-server there, or set `nats.url`"
    );
    assert_eq!(gone.to_string(), text);
    assert!(gone.may_pass());
    let file = said(&server, Login::Credentials("no/such.creds".into())).await.unwrap_err();
    assert_eq!(
        file.to_string(),
        "failed to read no/such.creds: entity not found; it is named in `nats.*` of the settings"
    );
}

#[test]
fn what_is_no_url_is_said_without_repeating_it() {
    assert_eq!(urls("nats://one:4222, tls://two").unwrap().len(), 2);
    for text in ["", "http://one", "nats://", "nats://one,,", "nats://a:secret@one:port"] {
        let error = urls(text).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
