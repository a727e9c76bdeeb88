"""Files over a stream: chunks that the receiver lacks, verified, durable before acknowledged.

`sender` and `receiver` are the two ends of the protocol in `wire.transfer`; `store` is what the
receiving side keeps. The bytes of files stay in native code.
"""
