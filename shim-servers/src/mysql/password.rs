//! `mysql_native_password`: proof that a client knows a password, without the password on the wire.
//!
//! Owns the computation. Must not know users. Invariant: an empty password is proven by an empty answer only.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, &parts.concat()).as_ref().to_vec()
}

/// Whether `answer` proves `password`: SHA1(password) XOR SHA1(salt, SHA1(SHA1(password))).
pub(super) fn is_right(password: &str, salt: &[u8], answer: &[u8]) -> bool {
    if password.is_empty() {
        return answer.is_empty();
    }
    let once = sha1(&[password.as_bytes()]);
    let twice = sha1(&[&once]);
    let mask = sha1(&[salt, &twice]);
    let expected: Vec<u8> = once.iter().zip(&mask).map(|(left, right)| left ^ right).collect();
    // A trailing zero is how some clients end the answer.
    answer.strip_suffix(&[0]).filter(|_| answer.len() == 21).unwrap_or(answer) == expected
}

/// Twenty bytes that no client has seen, none of them zero or `$`.
pub(super) fn salt() -> Result<[u8; 20], getrandom::Error> {
    let mut salt = [0; 20];
    getrandom::fill(&mut salt)?;
    Ok(salt.map(|byte| b'%' + byte % 80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_proves_itself() {
        let salt = [b'a'; 20];
        let once = sha1(&[b"secret"]);
        let mask = sha1(&[&salt, &sha1(&[&once])]);
        let answer: Vec<u8> = once.iter().zip(mask).map(|(left, right)| left ^ right).collect();
        assert!(is_right("secret", &salt, &answer));
        assert!(!is_right("Secret", &salt, &answer));
        assert!(!is_right("secret", &[b'b'; 20], &answer));
        assert!(is_right("", &salt, b""));
        assert!(!is_right("secret", &salt, b""));
    }
}
