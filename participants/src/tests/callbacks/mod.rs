//! Callbacks: each scheme against another program's signatures and against forgeries, and the whole way over HTTP.

mod over_http;
mod schemes;

use super::{eur, id};
use crate::{
    callbacks::{Alipay, PrivateKey, PublicKey, Report, Scheme, SharedKey, Signer},
    channel::{Callback, ChargeCallback, ChargeOutcome, Said},
};
use tercet_core::Millis;

/// When everything here is signed.
const AT: Millis = Millis(1_700_000_000_000);

const SECRET: &[u8] = b"a secret of the channel";

pub(crate) const APP: &str = "app-7";
pub(crate) const SERIAL: &str = "7777";

fn private(pem: &str) -> PrivateKey {
    PrivateKey::from_pem(pem).unwrap()
}

pub(crate) fn key_one() -> PrivateKey {
    private(include_str!("../keys/one.private.pem"))
}

pub(crate) fn key_two() -> PrivateKey {
    private(include_str!("../keys/two.private.pem"))
}

pub(crate) fn public_one() -> PublicKey {
    PublicKey::from_pem(include_str!("../keys/one.public.pem")).unwrap()
}

pub(crate) fn shared() -> SharedKey {
    SharedKey::new(SECRET).unwrap()
}

/// Every scheme, with who signs by it: the channel's name, what verifies, what signs.
fn schemes() -> [(&'static str, Scheme, Signer); 3] {
    let serial = SERIAL.to_owned();
    let app = APP.to_owned();
    [
        ("stamped", Scheme::Stamped(vec![shared()]), Signer::Stamped(shared())),
        ("wechat", Scheme::WeChat([(serial.clone(), public_one())].into()), Signer::WeChat { serial, key: key_one() }),
        (
            "alipay",
            Scheme::Alipay(Alipay { app: app.clone(), keys: vec![public_one()] }),
            Signer::Alipay { app, key: key_one() },
        ),
    ]
}

fn paid(order: &str) -> Report {
    Report::Charge(ChargeCallback {
        reference: id("pay-1"),
        order: id(order),
        transaction: "ch-1".to_owned(),
        amount: eur(8_963),
        outcome: ChargeOutcome::Paid,
        at: AT,
    })
}

fn refunded() -> Report {
    let said = Said::Succeeded { transaction: "re-1".to_owned(), amount: eur(400), at: AT };
    Report::Refund(Callback { reference: id("refund-1"), transaction: "re-1".to_owned(), said })
}
