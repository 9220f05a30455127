//! What is wrong with a URL, or with what it names, is said in one line without the password.

use std::time::Duration;
use tercet_database::{Pool, connect};
use tercet_servers::{MariaDb, Postgres};

async fn check(url: &str, port: u16) -> String {
    let pool = Pool { connections: 1, wait: Duration::from_secs(1) };
    let said = match url.parse() {
        Ok(url) => connect(&url, pool).await.map(drop).unwrap_err().to_string(),
        Err(bad) => tercet_database::BadUrl::to_string(&bad),
    };
    assert!(!said.contains("s3cr3t") && !said.contains("sea-salt") && !said.contains('\n'), "{said}");
    said.replace(&port.to_string(), "PORT")
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line_without_the_password() {
    let (mut postgres, mut mariadb) = (Postgres::start().unwrap(), MariaDb::start().unwrap());
    let (p, m) = (postgres.port(), mariadb.port());
    let mut said = vec![
        check(&format!("postgres://tercet:s3cr3t@127.0.0.1:{p}/tercet"), p).await,
        check(&format!("postgres://tercet:sea-salt@127.0.0.1:{p}/nowhere"), p).await,
        check(&format!("mysql://tercet:s3cr3t@127.0.0.1:{m}/tercet"), m).await,
        check(&format!("mysql://tercet:sea-salt@127.0.0.1:{m}/nowhere"), m).await,
        check("postgres://tercet:s3cr3t@no-such-host.invalid/tercet", p).await,
        check("oracle://tercet:s3cr3t@db/tercet", p).await,
    ];
    postgres.end();
    mariadb.end();
    said.push(check(&postgres.url(), p).await);
    said.push(check(&mariadb.url(), m).await);
    insta::assert_snapshot!(said.join("\n"), @r#"
    failed to sign in to the database postgres://tercet@127.0.0.1:PORT/tercet: password authentication failed for user "tercet"; check user and password
    failed to use the database postgres://tercet@127.0.0.1:PORT/nowhere: database "nowhere" does not exist; create it first
    failed to sign in to the database mysql://tercet@127.0.0.1:PORT/tercet: Access denied for user 'tercet'@'127.0.0.1' (using password: YES); check user and password
    failed to use the database mysql://tercet@127.0.0.1:PORT/nowhere: Unknown database 'nowhere'; create it first
    failed to reach the database postgres://tercet@no-such-host.invalid/tercet: failed to lookup address information: Name or service not known; check its host and port, and that it runs
    a database's URL begins with sqlite:, postgres:// or mysql://
    failed to reach the database postgres://tercet@127.0.0.1:PORT/tercet: Connection refused (os error 111); check its host and port, and that it runs
    failed to reach the database mysql://tercet@127.0.0.1:PORT/tercet: Connection refused (os error 111); check its host and port, and that it runs
    "#);
}
