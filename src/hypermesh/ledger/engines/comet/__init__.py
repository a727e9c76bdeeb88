"""The engine of a network of validators: CometBFT orders blocks, our kernel executes them.

CometBFT is a process of its own. It calls us over ABCI 2.0 on a UNIX socket; we call it over its
RPC on another. What a block does is decided by the same kernel as under `solo`, from the same
`BlockInput`, so the app hash at each height is the same.

    protobuf      the wire format, as far as ABCI needs it          (pure)
    messages      the ABCI messages as tables of fields             (pure)
    application   ABCI mapped to the kernel and the store
    waiting       who waits for which transaction or VDF output
    abci          the socket that CometBFT connects to
    home          CometBFT's directory: configuration, genesis, keys
    rpc           CometBFT's own interface, as a client
    engine        all of it running: `Comet`
"""
