//! sqlx over TLS to a MySQL server: by rustls on both sides.
//!
//! Owns certificates and what they prove. Must not know the protocol. Invariant: every test runs twice for each seed with
//! equal traces (`SIM_TWICE=1` in CI).
#![cfg(sim)]

use std::str::FromStr;

use compat_mysql::{HOST, database_of};
use shim_servers::mysql::MySql;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{ConnectOptions, Connection};

/// A server with a certificate for `name`, and the certificate.
async fn server_with_certificate(name: &str) -> (MySqlConnectOptions, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let (chain, key) = (vec![made.cert.der().to_vec()], made.signing_key.serialize_der());
    let server = MySql::new().user("eve", "secret").tls(chain, key).expect("they fit");
    let url = database_of(server).await.replace("root@", "eve:secret@");
    (MySqlConnectOptions::from_str(&url).expect("a url"), made.cert.pem().into_bytes())
}

async fn one(mut connection: MySqlConnection) -> i64 {
    let user: String =
        sqlx::query_scalar("SELECT CURRENT_USER()").fetch_one(&mut connection).await.expect("a name");
    assert_eq!(user, "eve@%");
    let one = sqlx::query_scalar("SELECT 1").fetch_one(&mut connection).await.expect("a row");
    connection.close().await.expect("it closes");
    one
}

#[tokio::test]
async fn a_certificate_proves_the_server() {
    let (options, pem) = server_with_certificate(HOST).await;
    let proven = options.clone().ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca_from_pem(pem);
    assert_eq!(one(proven.connect().await.expect("it connects")).await, 1);
    let unproven =
        options.clone().ssl_mode(MySqlSslMode::VerifyCa).connect().await.expect_err("nobody knows it");
    assert!(format!("{unproven:?}").contains("UnknownIssuer"), "{unproven:?}");
    let plain = options.ssl_mode(MySqlSslMode::Disabled);
    assert_eq!(one(plain.connect().await.expect("it connects")).await, 1);
}

#[tokio::test]
async fn a_certificate_of_another_name_proves_nothing() {
    let (options, pem) = server_with_certificate("elsewhere").await;
    let options = options.ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca_from_pem(pem);
    let refused = options.connect().await.expect_err("it is another's");
    assert!(format!("{refused:?}").contains("NotValidForName"), "{refused:?}");
}

#[tokio::test]
async fn passwords_are_asked_for() {
    let (options, _) = server_with_certificate(HOST).await;
    let wrong = options.clone().password("wrong").connect().await.expect_err("a wrong password");
    assert!(wrong.as_database_error().is_some(), "{wrong}");
    let nobody = options.username("nobody").connect().await.expect_err("an unknown user");
    assert!(nobody.as_database_error().is_some(), "{nobody}");
}
