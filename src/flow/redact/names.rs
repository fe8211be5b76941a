//! What the name of a header field, parameter, member or element says of its value.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::limits::{JUDGED_NAMES, SECRET_NAME_BYTES};

/// What a name says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// It may be a secret; how it looks decides.
    Doubtful,
    /// It may be the code of an authorization, a ticket or a signature; how its parts look decides.
    Grant,
    /// It is a secret if it is text. A number or a boolean is something about one.
    Secret,
    /// It is a secret, even as a number: passwords, PINs, one-time codes.
    Code,
}

impl Kind {
    /// Whether looks decide.
    pub(super) fn is_doubtful(self) -> bool {
        matches!(self, Kind::Doubtful | Kind::Grant)
    }

    /// Whether a text with this kind of name is a secret.
    pub(super) fn hides(self, text: &str) -> bool {
        match self {
            Kind::Plain => false,
            Kind::Doubtful => looks_random(text),
            Kind::Grant => looks_granted(text),
            Kind::Secret | Kind::Code => !is_harmless_value(text),
        }
    }
}

/// What any name of a secret has in it; most names have nothing of it and cost no more than this.
static STEMS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        "(?i-u:pass|pwd|psw|secret|token|auth|key|cred|sess|sid|jwt|otp|pin|cv[vc]|csc|cookie\
         |csrf|xsrf|code|sig|saml|assertion|bearer|ticket|hmac|mnemonic|phrase)",
    )
    .ok()
});

thread_local! {
    /// What names that were judged before say: a text has few of them, and many times.
    static JUDGED: RefCell<HashMap<Box<str>, Kind>> = RefCell::default();
}

/// Judges a name in any spelling: `access_token`, `Access-Token`, `accessToken`, `user[token]`.
pub(super) fn judge(name: &str) -> Kind {
    if !STEMS.as_ref().is_none_or(|stems| stems.is_match(name)) {
        return Kind::Plain;
    }
    if name.len() > SECRET_NAME_BYTES {
        return judge_anew(name);
    }
    JUDGED.with_borrow_mut(|judged| {
        if let Some(kind) = judged.get(name) {
            return *kind;
        }
        if judged.len() >= JUDGED_NAMES {
            judged.clear();
        }
        let kind = judge_anew(name);
        judged.insert(name.into(), kind);
        kind
    })
}

fn judge_anew(name: &str) -> Kind {
    let least = name.len().saturating_sub(SECRET_NAME_BYTES);
    let start = (least..=name.len()).find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    let words = words(name.get(start..).unwrap_or_default());
    Name { joined: words.concat(), words }.judge()
}

/// The words of a name in lower case, numbers left out: `APIKey2` has `api` and `key`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut letters = name.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        let next_is_small = letters.peek().is_some_and(|next| next.is_lowercase());
        let begins = letter.is_uppercase()
            && (before.is_lowercase() || before.is_uppercase() && next_is_small);
        if (begins || !letter.is_alphabetic()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphabetic() {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

struct Name {
    words: Vec<String>,
    joined: String,
}

impl Name {
    fn judge(&self) -> Kind {
        let first = self.words.first().map(String::as_str).unwrap_or_default();
        let (Some(last), [before @ .., _]) = (self.words.last(), self.words.as_slice()) else {
            return Kind::Plain;
        };
        let describes = SAYS_OF.contains(last.as_str()) && self.joined != "samlresponse";
        if describes || ASKS.contains(first) || self.joined.starts_with("accesscontrol") {
            return Kind::Plain;
        }
        if last == "id" || last == "ids" {
            let of = before.last().map(String::as_str).unwrap_or_default();
            let secret = ["session", "sess", "secret"].contains(&of);
            return if secret { Kind::Secret } else { Kind::Plain };
        }
        if self.is_code(last, before) {
            Kind::Code
        } else if self.is_secret()
            || self.is_token(last)
            || self.is_key(last, before)
            || self.is_session(last, before)
            || self.is_saml()
        {
            Kind::Secret
        } else if self.is_grant(last, before) {
            Kind::Grant
        } else if self.is_doubtful(last, before) {
            Kind::Doubtful
        } else {
            Kind::Plain
        }
    }

    fn has(&self, wanted: &[&str]) -> bool {
        self.words.iter().any(|word| wanted.contains(&word.as_str()))
    }

    fn has_of(&self, wanted: &Words) -> bool {
        self.words.iter().any(|word| wanted.contains(word.as_str()))
    }

    fn joined_has(&self, wanted: &[&str]) -> bool {
        wanted.iter().any(|part| self.joined.contains(part))
    }

    /// Passwords and what is typed in their place.
    fn is_code(&self, last: &str, before: &[String]) -> bool {
        let password = ["password", "passwd", "passphrase", "passcode", "passwort"];
        if self.joined_has(&password) || self.has(&["pwd", "pswd", "psw", "otp", "totp", "hotp"]) {
            return true;
        }
        if self.has(&["cvv", "cvc", "csc"])
            || ["userpass", "dbpass"].contains(&self.joined.as_str())
        {
            return true;
        }
        let of = before.last().map(String::as_str);
        match last {
            "pin" => of.is_none_or(|of| OF_PIN.contains(of)),
            "pass" => of.is_none_or(|of| OF_PASS.contains(of)),
            "code" | "codes" => {
                self.has_of(&OF_CODE) || self.joined.contains("fa") && self.joined.len() <= 7
            }
            _ => false,
        }
    }

    fn is_secret(&self) -> bool {
        let anywhere = [
            "apikey",
            "accesskey",
            "privatekey",
            "secretkey",
            "signingkey",
            "clientkey",
            "passkey",
        ];
        let words = ["credential", "credentials", "cred", "creds", "jwt", "jwts", "bearer"];
        let more = ["csrf", "xsrf", "sid", "sessid", "mnemonic", "verifier"];
        let phrase = ["seedphrase", "recoveryphrase", "proxyauth", "sessionid", "sessid"];
        let encryption = ["encryptionkey", "masterkey", "authkey", "sharedkey", "sessionkey"];
        let ends = |word: &String| word.ends_with("secret") || word.ends_with("secrets");
        self.joined_has(&anywhere) && !self.has(&["public"])
            || self.words.iter().any(ends)
            || self.has(&words)
            || self.has(&more)
            || self.joined_has(&phrase)
            || self.joined_has(&encryption)
    }

    /// Tokens, but not those that language models count, nor those that lead to the next page.
    fn is_token(&self, last: &str) -> bool {
        let ends = |end| last.ends_with(end);
        (self.has(&["token", "tokens"]) || ends("token") || ends("tokens"))
            && !self.has_of(&OF_TOKENS)
    }

    fn is_key(&self, last: &str, before: &[String]) -> bool {
        ["key", "keys"].contains(&last)
            && before.iter().any(|word| OF_KEY.contains(word.as_str()))
            && !self.has(&["public"])
    }

    /// Sessions, authorizations and cookies: alone, last, or as what carries them.
    fn is_session(&self, last: &str, before: &[String]) -> bool {
        const CARRIERS: [&str; 5] = ["session", "auth", "authorization", "cookie", "sess"];
        let carried = ["key", "data", "string", "value", "hash", "cookie", "header", "ticket"];
        let of = before.last().map(String::as_str).unwrap_or_default();
        CARRIERS.contains(&last)
            || last == "cookies"
            || carried.contains(&last) && CARRIERS.contains(&of)
    }

    fn is_saml(&self) -> bool {
        ["samlresponse", "samlassertion", "clientassertion", "assertion"]
            .contains(&self.joined.as_str())
    }

    /// What a server gives out for one use or for one URL.
    fn is_grant(&self, last: &str, before: &[String]) -> bool {
        ["sig", "signature", "hmac"].contains(&last)
            || is_alone(before) && ["code", "ticket"].contains(&last)
    }

    fn is_doubtful(&self, last: &str, before: &[String]) -> bool {
        is_alone(before) && ["key", "access", "refresh", "authentication"].contains(&last)
    }
}

/// Whether nothing but the mark of an extension stands before a word.
fn is_alone(before: &[String]) -> bool {
    before.iter().all(|word| word == "x")
}

/// A list of words, to be searched.
type Words = LazyLock<HashSet<&'static str>>;

/// Last words of names that tell something of a secret and are none.
static SAYS_OF: Words = LazyLock::new(|| {
    words_of(
        "count counts used usage limit limits max min type types length len size expiry expires \
         expire expiration exp ttl age at in on date time timestamp url uri urls endpoint path \
         enabled disabled required valid validity verified policy strength hint label \
         placeholder field fields param prefix suffix name names status state version format \
         algorithm alg method methods mode scheme scope scopes budget price cost rate remaining \
         total index symbol address decimals provider kind issuer audience page pages duration \
         timeout start started end ended seconds minutes ms error errors message description \
         title reason result rules regex pattern class style icon input changed updated created \
         user username email login info docs supported challenge response present exists consent \
         domain origin language position range order group groups",
    )
});

/// First words of names that ask or count.
static ASKS: Words = LazyLock::new(|| {
    words_of(
        "is has can should needs requires allow allows enable enabled show hide num max min \
         total count forgot supports",
    )
});

static OF_PIN: Words =
    LazyLock::new(|| words_of("user card login security account sim device new"));

static OF_PASS: Words = LazyLock::new(|| {
    words_of("user db admin root smtp mysql ftp http proxy auth login new old my database mail")
});

static OF_CODE: Words = LazyLock::new(|| {
    words_of(
        "mfa verification security recovery backup auth authorization confirmation login sms \
         access device pin reset invite",
    )
});

/// What has the word token in its name and is no secret.
static OF_TOKENS: Words = LazyLock::new(|| {
    words_of(
        "max min total prompt completion input output num used remaining reasoning cached cache \
         stop special eos bos pad unk sep cls mask page next prev previous continuation sync \
         pagination cursor context audio vocab number ratelimit limit position nft text",
    )
});

static OF_KEY: Words = LazyLock::new(|| {
    words_of(
        "api access secret private signing encryption master shared auth session account storage \
         subscription consumer license service deploy ssh hmac client app application admin \
         functions function host ingestion fastly mashape",
    )
});

fn words_of(list: &'static str) -> HashSet<&'static str> {
    list.split(' ').collect()
}

/// Whether a value under the name of a secret tells nothing: absent, a boolean, a type.
fn is_harmless_value(value: &str) -> bool {
    let harmless = ["true", "false", "null", "none", "nil", "undefined"];
    value.is_empty() || harmless.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Members of an object that stands under the name of a secret and yet are none.
pub(super) fn is_harmless_member(name: &str) -> bool {
    const HARMLESS: [&str; 14] = [
        "name", "user", "users", "role", "roles", "kind", "realm", "iss", "aud", "exp", "iat",
        "nbf", "account", "created",
    ];
    let lower = name.to_ascii_lowercase();
    HARMLESS.contains(&lower.as_str())
        || words(name).last().is_some_and(|last| SAYS_OF.contains(last.as_str()))
}

/// Whether a text looks like a key: long, without spaces, letters and digits mixed, and not by
/// putting words and numbers beside each other, as `HTTP_404_NOT_FOUND` and `home-page-v2` do.
pub(super) fn looks_random(text: &str) -> bool {
    const SHORT_BYTES: usize = 3;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=%+".contains(&byte);
    let is_word = |part: &str| {
        let all = |is: fn(&u8) -> bool| part.as_bytes().iter().all(is);
        part.len() <= SHORT_BYTES || all(u8::is_ascii_alphabetic) || all(u8::is_ascii_digit)
    };
    text.len() >= 16
        && !text.split(['_', '-']).all(is_word)
        && text.bytes().all(allowed)
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether a part of a text looks like a key, and the rest is no sentence or program: `4/0AY0e…`
/// and `M.R3_BAY.c0ca36f9-…` are codes of authorizations, `a~b/c=` is base64 of a signature.
fn looks_granted(text: &str) -> bool {
    const SEPARATORS: [char; 3] = ['/', '.', '~'];
    looks_random(text)
        || text.split(SEPARATORS).any(looks_random)
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-=%+/.~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        let secret = "\
            token access_token accessToken AccessToken ACCESS-TOKEN accesstoken refreshToken \
            id_token api_key apiKey APIKey apikey x-api-key X-Auth-Token X-Access-Token \
            X-CSRF-Token X-XSRF-TOKEN csrftoken X-Amz-Security-Token X-Goog-Api-Key \
            Ocp-Apim-Subscription-Key Private-Token Authorization Proxy-Authorization auth \
            basic_auth session session_id sessionId sessionid JSESSIONID PHPSESSID \
            ASP.NET_SessionId sid connect.sid jwt client_secret clientSecret secret credentials \
            private_key AccountKey aws_secret_access_key user[token] secret_id \
            authenticity_token SAMLResponse code_verifier proxyauth upstream_auth cookie \
            set-cookie x-session-key csrfmiddlewaretoken tokens X-Amz-Credential passkey \
            client-key-data Fastly-Key X-Mashape-Key";
        for name in secret.split(' ') {
            assert_eq!(judge(name), Kind::Secret, "{name}");
        }
        let code = "\
            password passwd pwd userPassword password_confirmation PassWord new-password db_pass \
            pass otp totp_code pin user_pin cvv passphrase 2fa_code verification_code mfaCode \
            user%5Bpassword%5D auth_code device_code password2 password_hash";
        for name in code.split(' ') {
            assert_eq!(judge(name), Kind::Code, "{name}");
        }
        for name in ["key", "x-key", "Authentication", "X-Authentication"] {
            assert_eq!(judge(name), Kind::Doubtful, "{name}");
        }
        for name in ["code", "sig", "X-Amz-Signature", "ticket", "x-code"] {
            assert_eq!(judge(name), Kind::Grant, "{name}");
        }
    }

    #[test]
    fn names_that_only_resemble_them() {
        let plain = "\
            token_count tokens_used max_tokens total_tokens prompt_tokens author authority \
            authenticated authors token_type nextPageToken page_token expires_in session_timeout \
            session_start sessions Sec-WebSocket-Key Idempotency-Key primary_key public_key \
            publicKey keyboard monkey country_code status_code pinned shipping spinner compass \
            passenger passed inside residence side presidio design assigned \
            Access-Control-Allow-Credentials Access-Control-Allow-Headers WWW-Authenticate \
            client_id access_key_id token_url secret_name password_required is_token auth_type \
            csrf_header_name zipcode id Authentication-Info sort_key cache_key token_id etag \
            sidebar  x-ratelimit-remaining-tokens ___ \u{e9} assess possession";
        for name in plain.split(' ') {
            assert_eq!(judge(name), Kind::Plain, "{name}");
        }
    }

    #[test]
    fn the_end_of_a_long_name_counts() {
        let long = format!("{}[password]", "\u{e9}".repeat(SECRET_NAME_BYTES));
        assert_eq!(judge(&long), Kind::Code);
        let long = format!("password{}", "_x".repeat(SECRET_NAME_BYTES));
        assert_eq!(judge(&long), Kind::Plain);
    }

    #[test]
    fn few_judgements_are_remembered() {
        for number in 0..2 * JUDGED_NAMES {
            assert_eq!(judge(&format!("token_{number}")), Kind::Secret);
            JUDGED.with_borrow(|judged| assert!(judged.len() <= JUDGED_NAMES));
        }
        assert_eq!((judge("token_0"), judge("token_count")), (Kind::Secret, Kind::Plain));
    }

    #[test]
    fn how_keys_look() {
        assert!(looks_random("4f9d8c7b6a5e4d3c2b1a"));
        assert!(!looks_random("a-readable-identifier") && !looks_random("short1"));
        assert!(!looks_random("2024-01-01 12:00:00 UTC"));
        for words in ["HTTP_404_NOT_FOUND", "ERR_INVALID_ARG_TYPE_2", "user-profile-page-v2"] {
            assert!(!looks_random(words), "{words}");
        }
        assert!(looks_random("123e4567-e89b-12d3-a456-426614174000"));
        assert!(Kind::Code.hides("x") && !Kind::Secret.hides("true") && !Kind::Code.hides(""));
    }
}
