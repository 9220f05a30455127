//! Participants in the same process.

use super::{CallError, Calling, Transport};
use std::{any::Any, collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, task::Poll};
use tercet_core::{Call, ContractName, PANICKED, Participant};

/// Calls participants in this process, each found by the contracts it names.
#[derive(Clone, Default)]
pub struct InProcess {
    by_contract: Arc<BTreeMap<String, Arc<dyn Participant>>>,
}

impl InProcess {
    /// A transport to these participants. Of two that name one contract, the later is asked.
    #[must_use]
    pub fn new(participants: impl IntoIterator<Item = Arc<dyn Participant>>) -> Self {
        let mut by_contract = BTreeMap::new();
        for participant in participants {
            for contract in participant.contracts() {
                by_contract.insert(contract.to_string(), participant.clone());
            }
        }
        Self { by_contract: Arc::new(by_contract) }
    }

    /// Is that contract answered for?
    #[must_use]
    pub fn offers(&self, contract: &ContractName) -> bool {
        self.by_contract.contains_key(contract.as_str())
    }

    /// The contracts that are answered for.
    pub fn contracts(&self) -> impl Iterator<Item = &str> {
        self.by_contract.keys().map(String::as_str)
    }
}

impl Transport for InProcess {
    fn call(&self, call: Call) -> Calling {
        match self.by_contract.get(call.contract.as_str()).cloned() {
            Some(participant) => Box::pin(async move {
                let mut calling =
                    std::panic::catch_unwind(AssertUnwindSafe(|| participant.call(call))).map_err(silent)?;
                std::future::poll_fn(|cx| {
                    match std::panic::catch_unwind(AssertUnwindSafe(|| calling.as_mut().poll(cx))) {
                        Ok(polled) => polled.map(Ok),
                        Err(panic) => Poll::Ready(Err(silent(panic))),
                    }
                })
                .await
            }),
            None => {
                let contract = call.contract.to_string();
                Box::pin(std::future::ready(Err(CallError::NoResponder { contract })))
            }
        }
    }
}

/// A participant that panicked outside of any barrier: nobody knows what it did before.
#[expect(clippy::needless_pass_by_value, reason = "as it comes from `catch_unwind`")]
fn silent(panic: Box<dyn Any + Send>) -> CallError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it said nothing".to_owned());
    CallError::Silent(format!("{PANICKED}: {text}"))
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("InProcess").field(&self.by_contract.keys()).finish()
    }
}
