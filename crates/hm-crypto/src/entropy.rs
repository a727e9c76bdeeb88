//! Random bytes of the operating system, through aws-lc.

use fn_dsa::{CryptoRng, RngCore, RngError};

use crate::Error;

const FAILED: Error = Error::Backend("the operating system gave no random bytes");

/// Fills `buffer`.
///
/// # Errors
/// [`Error::Backend`] where the operating system gives none.
pub fn fill(buffer: &mut [u8]) -> Result<(), Error> {
    aws_lc_rs::rand::fill(buffer).map_err(|_| FAILED)
}

/// The same source behind the trait that `fn-dsa` asks for.
///
/// That trait cannot report a failure from `fill_bytes`, so it is remembered: whoever used the
/// bytes must call [`Source::finish`] and drop what was made where it refuses.
#[derive(Default)]
pub(crate) struct Source {
    failed: bool,
}

impl Source {
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.failed {
            Err(FAILED)
        } else {
            Ok(())
        }
    }
}

impl CryptoRng for Source {}

impl RngCore for Source {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0u8; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0u8; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, buffer: &mut [u8]) {
        self.failed |= fill(buffer).is_err();
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), RngError> {
        self.fill_bytes(buffer);
        Ok(())
    }
}
