"""The ABCI 2.0 messages of CometBFT v0.39.3, with the fields that we read or write.

Field numbers are those of proto/tendermint/abci/types.proto at that version; fields that are not
here are skipped on reading and left at their default on writing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Final

from hypermesh.ledger.engines.comet.protobuf import Field, Kind, Many


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A moment since 1970, UTC."""

    seconds: Annotated[int, Field(1, Kind.INT64)] = 0
    nanos: Annotated[int, Field(2, Kind.INT32)] = 0

    @property
    def milliseconds(self) -> int:
        """Block time: whole milliseconds since 1970, what is beyond is cut off."""
        return self.seconds * 1000 + self.nanos // 1_000_000


@dataclass(frozen=True, slots=True)
class Validator:
    """A validator: the first 20 bytes of SHA-256 of its key, and its voting power."""

    address: Annotated[bytes, Field(1, Kind.BYTES)] = b""
    power: Annotated[int, Field(3, Kind.INT64)] = 0


@dataclass(frozen=True, slots=True)
class Misbehavior:
    """Proven misbehaviour: 1 for two votes in one round, 2 for an attack on light clients."""

    type: Annotated[int, Field(1, Kind.INT32)] = 0
    validator: Annotated[Validator | None, Field(2, Validator)] = None
    height: Annotated[int, Field(3, Kind.INT64)] = 0
    time: Annotated[Timestamp | None, Field(4, Timestamp)] = None
    total_voting_power: Annotated[int, Field(5, Kind.INT64)] = 0


@dataclass(frozen=True, slots=True)
class RequestEcho:
    message: Annotated[str, Field(1, Kind.STRING)] = ""


@dataclass(frozen=True, slots=True)
class RequestFlush:
    pass


@dataclass(frozen=True, slots=True)
class RequestInfo:
    version: Annotated[str, Field(1, Kind.STRING)] = ""
    abci_version: Annotated[str, Field(4, Kind.STRING)] = ""


@dataclass(frozen=True, slots=True)
class RequestInitChain:
    time: Annotated[Timestamp | None, Field(1, Timestamp)] = None
    chain_id: Annotated[str, Field(2, Kind.STRING)] = ""
    app_state_bytes: Annotated[bytes, Field(5, Kind.BYTES)] = b""
    initial_height: Annotated[int, Field(6, Kind.INT64)] = 0


@dataclass(frozen=True, slots=True)
class RequestQuery:
    data: Annotated[bytes, Field(1, Kind.BYTES)] = b""
    path: Annotated[str, Field(2, Kind.STRING)] = ""
    height: Annotated[int, Field(3, Kind.INT64)] = 0
    prove: Annotated[bool, Field(4, Kind.BOOL)] = False


@dataclass(frozen=True, slots=True)
class RequestCheckTx:
    """`type` is 0 for a new transaction and 1 for one that waited while a block was made."""

    tx: Annotated[bytes, Field(1, Kind.BYTES)] = b""
    type: Annotated[int, Field(2, Kind.INT32)] = 0


@dataclass(frozen=True, slots=True)
class RequestCommit:
    pass


@dataclass(frozen=True, slots=True)
class RequestListSnapshots:
    pass


@dataclass(frozen=True, slots=True)
class RequestOfferSnapshot:
    pass


@dataclass(frozen=True, slots=True)
class RequestLoadSnapshotChunk:
    pass


@dataclass(frozen=True, slots=True)
class RequestApplySnapshotChunk:
    pass


@dataclass(frozen=True, slots=True)
class RequestPrepareProposal:
    max_tx_bytes: Annotated[int, Field(1, Kind.INT64)] = 0
    txs: Annotated[tuple[bytes, ...], Many(2, Kind.BYTES)] = ()
    misbehavior: Annotated[tuple[Misbehavior, ...], Many(4, Misbehavior)] = ()
    height: Annotated[int, Field(5, Kind.INT64)] = 0
    time: Annotated[Timestamp | None, Field(6, Timestamp)] = None


@dataclass(frozen=True, slots=True)
class RequestProcessProposal:
    txs: Annotated[tuple[bytes, ...], Many(1, Kind.BYTES)] = ()
    misbehavior: Annotated[tuple[Misbehavior, ...], Many(3, Misbehavior)] = ()
    hash: Annotated[bytes, Field(4, Kind.BYTES)] = b""
    height: Annotated[int, Field(5, Kind.INT64)] = 0
    time: Annotated[Timestamp | None, Field(6, Timestamp)] = None


@dataclass(frozen=True, slots=True)
class RequestExtendVote:
    pass


@dataclass(frozen=True, slots=True)
class RequestVerifyVoteExtension:
    vote_extension: Annotated[bytes, Field(4, Kind.BYTES)] = b""


@dataclass(frozen=True, slots=True)
class RequestFinalizeBlock:
    txs: Annotated[tuple[bytes, ...], Many(1, Kind.BYTES)] = ()
    misbehavior: Annotated[tuple[Misbehavior, ...], Many(3, Misbehavior)] = ()
    hash: Annotated[bytes, Field(4, Kind.BYTES)] = b""
    height: Annotated[int, Field(5, Kind.INT64)] = 0
    time: Annotated[Timestamp | None, Field(6, Timestamp)] = None


@dataclass(frozen=True, slots=True)
class ResponseException:
    error: Annotated[str, Field(1, Kind.STRING)] = ""


@dataclass(frozen=True, slots=True)
class ResponseEcho:
    message: Annotated[str, Field(1, Kind.STRING)] = ""


@dataclass(frozen=True, slots=True)
class ResponseFlush:
    pass


@dataclass(frozen=True, slots=True)
class ResponseInfo:
    data: Annotated[str, Field(1, Kind.STRING)] = ""
    version: Annotated[str, Field(2, Kind.STRING)] = ""
    app_version: Annotated[int, Field(3, Kind.UINT64)] = 0
    last_block_height: Annotated[int, Field(4, Kind.INT64)] = 0
    last_block_app_hash: Annotated[bytes, Field(5, Kind.BYTES)] = b""


@dataclass(frozen=True, slots=True)
class ResponseInitChain:
    app_hash: Annotated[bytes, Field(3, Kind.BYTES)] = b""


@dataclass(frozen=True, slots=True)
class ProofOp:
    type: Annotated[str, Field(1, Kind.STRING)] = ""
    key: Annotated[bytes, Field(2, Kind.BYTES)] = b""
    data: Annotated[bytes, Field(3, Kind.BYTES)] = b""


@dataclass(frozen=True, slots=True)
class ProofOps:
    ops: Annotated[tuple[ProofOp, ...], Many(1, ProofOp)] = ()


@dataclass(frozen=True, slots=True)
class ResponseQuery:
    code: Annotated[int, Field(1, Kind.UINT32)] = 0
    log: Annotated[str, Field(3, Kind.STRING)] = ""
    key: Annotated[bytes, Field(6, Kind.BYTES)] = b""
    value: Annotated[bytes, Field(7, Kind.BYTES)] = b""
    proof_ops: Annotated[ProofOps | None, Field(8, ProofOps)] = None
    height: Annotated[int, Field(9, Kind.INT64)] = 0
    codespace: Annotated[str, Field(10, Kind.STRING)] = ""


@dataclass(frozen=True, slots=True)
class ResponseCheckTx:
    code: Annotated[int, Field(1, Kind.UINT32)] = 0
    data: Annotated[bytes, Field(2, Kind.BYTES)] = b""
    log: Annotated[str, Field(3, Kind.STRING)] = ""
    codespace: Annotated[str, Field(8, Kind.STRING)] = ""


@dataclass(frozen=True, slots=True)
class ResponseCommit:
    retain_height: Annotated[int, Field(3, Kind.INT64)] = 0


@dataclass(frozen=True, slots=True)
class ResponseListSnapshots:
    pass


@dataclass(frozen=True, slots=True)
class ResponseOfferSnapshot:
    result: Annotated[int, Field(1, Kind.INT32)] = 0


@dataclass(frozen=True, slots=True)
class ResponseLoadSnapshotChunk:
    pass


@dataclass(frozen=True, slots=True)
class ResponseApplySnapshotChunk:
    result: Annotated[int, Field(1, Kind.INT32)] = 0


@dataclass(frozen=True, slots=True)
class ResponsePrepareProposal:
    txs: Annotated[tuple[bytes, ...], Many(1, Kind.BYTES)] = ()


@dataclass(frozen=True, slots=True)
class ResponseProcessProposal:
    status: Annotated[int, Field(1, Kind.INT32)] = 0


@dataclass(frozen=True, slots=True)
class ResponseExtendVote:
    pass


@dataclass(frozen=True, slots=True)
class ResponseVerifyVoteExtension:
    status: Annotated[int, Field(1, Kind.INT32)] = 0


@dataclass(frozen=True, slots=True)
class ExecTxResult:
    """What the engine hashes of a result into the next header: code and data."""

    code: Annotated[int, Field(1, Kind.UINT32)] = 0
    data: Annotated[bytes, Field(2, Kind.BYTES)] = b""
    codespace: Annotated[str, Field(8, Kind.STRING)] = ""


@dataclass(frozen=True, slots=True)
class ResponseFinalizeBlock:
    tx_results: Annotated[tuple[ExecTxResult, ...], Many(2, ExecTxResult)] = ()
    app_hash: Annotated[bytes, Field(5, Kind.BYTES)] = b""


class Verdict(enum.IntEnum):
    """The answer to a proposal or a vote extension."""

    ACCEPT = 1
    REJECT = 2


SNAPSHOT_ABORT: Final = 2
"""The answer to an offered snapshot, or a chunk of one, that ends the attempt."""

REQUESTS: Final[dict[int, type]] = {
    1: RequestEcho,
    2: RequestFlush,
    3: RequestInfo,
    5: RequestInitChain,
    6: RequestQuery,
    8: RequestCheckTx,
    11: RequestCommit,
    12: RequestListSnapshots,
    13: RequestOfferSnapshot,
    14: RequestLoadSnapshotChunk,
    15: RequestApplySnapshotChunk,
    16: RequestPrepareProposal,
    17: RequestProcessProposal,
    18: RequestExtendVote,
    19: RequestVerifyVoteExtension,
    20: RequestFinalizeBlock,
}

RESPONSES: Final[dict[int, type]] = {
    1: ResponseException,
    2: ResponseEcho,
    3: ResponseFlush,
    4: ResponseInfo,
    6: ResponseInitChain,
    7: ResponseQuery,
    9: ResponseCheckTx,
    12: ResponseCommit,
    13: ResponseListSnapshots,
    14: ResponseOfferSnapshot,
    15: ResponseLoadSnapshotChunk,
    16: ResponseApplySnapshotChunk,
    17: ResponsePrepareProposal,
    18: ResponseProcessProposal,
    19: ResponseExtendVote,
    20: ResponseVerifyVoteExtension,
    21: ResponseFinalizeBlock,
}

REQUEST_NUMBERS: Final = {kind: number for number, kind in REQUESTS.items()}
RESPONSE_NUMBERS: Final = {kind: number for number, kind in RESPONSES.items()}

ORDERING: Final = (
    RequestInitChain,
    RequestPrepareProposal,
    RequestProcessProposal,
    RequestFinalizeBlock,
    RequestCommit,
)
"""What only the connection for blocks carries; the other three can come and go."""
