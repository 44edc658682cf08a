//! Passwords: in clear, by MD5, by SCRAM-SHA-256 (RFC 5802 and 7677).
//!
//! Owns the exchange of messages. Must not know what comes after. Invariant: a wrong user and a wrong password fail alike.

use std::io;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use md5::{Digest, Md5};
use pgwire::messages::startup::{Authentication as Ask, PasswordMessageFamily};
use pgwire::messages::{PgWireBackendMessage as Out, PgWireFrontendMessage as In};
use ring::{digest, hmac, pbkdf2};

use super::message::Messages;
use super::server::{Authentication, Postgres};
use crate::engine::{Condition, SqlError};

const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("invariant: not zero");
const MECHANISM: &str = "SCRAM-SHA-256";

type Verdict = Result<(), SqlError>;

/// Asks for what the options want; the outer failure is the socket's.
pub(crate) async fn authenticate(
    options: &Postgres,
    messages: &mut Messages,
    user: &str,
) -> io::Result<Verdict> {
    let failed = || {
        let message = format!("password authentication failed for user \"{user}\"");
        Err(SqlError::new(Condition::InvalidPassword, message))
    };
    let known = options.user.as_ref().is_none_or(|known| known == user);
    let password = options.password.clone().unwrap_or_default();
    let proved = match options.authentication {
        Authentication::Trust if known => return Ok(Ok(())),
        Authentication::Trust => {
            let message = format!("role \"{user}\" does not exist");
            return Ok(Err(SqlError::new(Condition::InvalidAuthorizationSpecification, message)));
        }
        Authentication::Password => {
            ask(messages, Ask::CleartextPassword).await?.is_some_and(|given| given == password)
        }
        Authentication::Md5 => {
            let salt = random::<4>()?;
            let inner = hex(&Md5::digest(format!("{password}{user}")));
            let wanted = format!("md5{}", hex(&Md5::digest([inner.as_bytes(), &salt].concat())));
            ask(messages, Ask::MD5Password(salt.to_vec())).await?.is_some_and(|given| given == wanted)
        }
        Authentication::ScramSha256 => scram(messages, &password).await?,
    };
    Ok(if proved && known { Ok(()) } else { failed() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The client's answer to a question for a password.
async fn answer(messages: &mut Messages, question: Ask) -> io::Result<Option<PasswordMessageFamily>> {
    messages.push(&Out::Authentication(question))?;
    messages.flush().await?;
    Ok(match messages.read().await? {
        Some(In::PasswordMessageFamily(answer)) => Some(answer),
        _ => None,
    })
}

async fn ask(messages: &mut Messages, question: Ask) -> io::Result<Option<String>> {
    let answer = answer(messages, question).await?;
    Ok(answer.and_then(|answer| answer.into_password().ok()).map(|answer| answer.password))
}

async fn scram(messages: &mut Messages, password: &str) -> io::Result<bool> {
    let Some(answer_one) = answer(messages, Ask::SASL(vec![MECHANISM.to_owned()])).await? else {
        return Ok(false);
    };
    let Ok(initial) = answer_one.into_sasl_initial_response() else { return Ok(false) };
    let first = initial.data.map(|data| String::from_utf8_lossy(&data).into_owned()).unwrap_or_default();
    // `n,,n=user,r=nonce`: the header says whether the channel is bound.
    let mut parts = first.splitn(3, ',');
    let header = format!("{},{},", parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some(client_first) = parts.next().filter(|_| initial.auth_method == MECHANISM) else {
        return Ok(false);
    };
    let Some(client_nonce) = attribute(client_first, "r=") else { return Ok(false) };
    let salt = random::<16>()?;
    let nonce = format!("{client_nonce}{}", BASE64.encode(random::<18>()?));
    let server_first = format!("r={nonce},s={},i={ITERATIONS}", BASE64.encode(salt));
    let Some(answer_two) = answer(messages, Ask::SASLContinue(Bytes::from(server_first.clone()))).await?
    else {
        return Ok(false);
    };
    let Ok(response) = answer_two.into_sasl_response() else { return Ok(false) };
    let client_final = String::from_utf8_lossy(&response.data).into_owned();
    let Some((without_proof, proof)) = client_final.rsplit_once(",p=") else { return Ok(false) };
    let bound = attribute(without_proof, "c=").and_then(|bound| BASE64.decode(bound).ok());
    if bound.as_deref() != Some(header.as_bytes()) || attribute(without_proof, "r=") != Some(nonce.as_str()) {
        return Ok(false);
    }
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut salted);
    let keyed = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let client_key = keyed(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let message = format!("{client_first},{server_first},{without_proof}");
    let signature = keyed(stored_key.as_ref(), message.as_bytes());
    // The proof hides the client's key, whose digest is the stored one.
    let given = BASE64.decode(proof).unwrap_or_default();
    let shown: Vec<u8> = given.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    if digest::digest(&digest::SHA256, &shown).as_ref() != stored_key.as_ref() {
        return Ok(false);
    }
    let server_key = keyed(&salted, b"Server Key");
    let proof = BASE64.encode(keyed(server_key.as_ref(), message.as_bytes()));
    messages.push(&Out::Authentication(Ask::SASLFinal(Bytes::from(format!("v={proof}")))))?;
    Ok(true)
}

/// The value of an attribute of a SCRAM message.
fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name))
}
