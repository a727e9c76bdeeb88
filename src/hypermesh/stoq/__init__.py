"""STOQ, the transport: QUIC over IPv6 with post-quantum keys and post-quantum proof of identity.

`endpoint.Endpoint` is where it begins. The bytes move in `crates/stoq`; here are typed surfaces,
blocking (other threads run meanwhile) and asynchronous.
"""
