//! The few bits of DER (X.690) that are written here.
