from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PaymentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYMENT_STATUS_UNSPECIFIED: _ClassVar[PaymentStatus]
    PAYMENT_STATUS_PENDING: _ClassVar[PaymentStatus]
    PAYMENT_STATUS_SUCCEEDED: _ClassVar[PaymentStatus]
    PAYMENT_STATUS_DECLINED: _ClassVar[PaymentStatus]

class Method(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METHOD_UNSPECIFIED: _ClassVar[Method]
    METHOD_GET_PAYMENT: _ClassVar[Method]
    METHOD_CREATE_PAYMENT: _ClassVar[Method]
PAYMENT_STATUS_UNSPECIFIED: PaymentStatus
PAYMENT_STATUS_PENDING: PaymentStatus
PAYMENT_STATUS_SUCCEEDED: PaymentStatus
PAYMENT_STATUS_DECLINED: PaymentStatus
METHOD_UNSPECIFIED: Method
METHOD_GET_PAYMENT: Method
METHOD_CREATE_PAYMENT: Method

class GetPaymentRequest(_message.Message):
    __slots__ = ("invoice_id",)
    INVOICE_ID_FIELD_NUMBER: _ClassVar[int]
    invoice_id: str
    def __init__(self, invoice_id: _Optional[str] = ...) -> None: ...

class CreatePaymentRequest(_message.Message):
    __slots__ = ("idempotency_key", "invoice_id", "amount_cents", "currency")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    INVOICE_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_CENTS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    invoice_id: str
    amount_cents: int
    currency: str
    def __init__(self, idempotency_key: _Optional[str] = ..., invoice_id: _Optional[str] = ..., amount_cents: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class Payment(_message.Message):
    __slots__ = ("payment_id", "invoice_id", "status", "amount_cents", "currency", "updated_at_unix_ms", "idempotency_key")
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    INVOICE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_CENTS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    payment_id: str
    invoice_id: str
    status: PaymentStatus
    amount_cents: int
    currency: str
    updated_at_unix_ms: int
    idempotency_key: str
    def __init__(self, payment_id: _Optional[str] = ..., invoice_id: _Optional[str] = ..., status: _Optional[_Union[PaymentStatus, str]] = ..., amount_cents: _Optional[int] = ..., currency: _Optional[str] = ..., updated_at_unix_ms: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class Behaviour(_message.Message):
    __slots__ = ("latency", "faults", "remember_request_ids", "seed")
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    REMEMBER_REQUEST_IDS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    latency: Latency
    faults: _containers.RepeatedCompositeFieldContainer[Fault]
    remember_request_ids: int
    seed: int
    def __init__(self, latency: _Optional[_Union[Latency, _Mapping]] = ..., faults: _Optional[_Iterable[_Union[Fault, _Mapping]]] = ..., remember_request_ids: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class Latency(_message.Message):
    __slots__ = ("fixed_ms", "lognormal", "exponential")
    FIXED_MS_FIELD_NUMBER: _ClassVar[int]
    LOGNORMAL_FIELD_NUMBER: _ClassVar[int]
    EXPONENTIAL_FIELD_NUMBER: _ClassVar[int]
    fixed_ms: float
    lognormal: Lognormal
    exponential: Exponential
    def __init__(self, fixed_ms: _Optional[float] = ..., lognormal: _Optional[_Union[Lognormal, _Mapping]] = ..., exponential: _Optional[_Union[Exponential, _Mapping]] = ...) -> None: ...

class Lognormal(_message.Message):
    __slots__ = ("median_ms", "sigma", "maximum_ms")
    MEDIAN_MS_FIELD_NUMBER: _ClassVar[int]
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_MS_FIELD_NUMBER: _ClassVar[int]
    median_ms: float
    sigma: float
    maximum_ms: float
    def __init__(self, median_ms: _Optional[float] = ..., sigma: _Optional[float] = ..., maximum_ms: _Optional[float] = ...) -> None: ...

class Exponential(_message.Message):
    __slots__ = ("mean_ms", "maximum_ms")
    MEAN_MS_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_MS_FIELD_NUMBER: _ClassVar[int]
    mean_ms: float
    maximum_ms: float
    def __init__(self, mean_ms: _Optional[float] = ..., maximum_ms: _Optional[float] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("share", "status_code", "hang", "reset", "goaway", "charge_after_ms", "duplicate", "decline", "wrong_amount", "method", "after_execution")
    SHARE_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    HANG_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    GOAWAY_FIELD_NUMBER: _ClassVar[int]
    CHARGE_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    DECLINE_FIELD_NUMBER: _ClassVar[int]
    WRONG_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    AFTER_EXECUTION_FIELD_NUMBER: _ClassVar[int]
    share: float
    status_code: int
    hang: bool
    reset: bool
    goaway: bool
    charge_after_ms: float
    duplicate: bool
    decline: bool
    wrong_amount: bool
    method: Method
    after_execution: bool
    def __init__(self, share: _Optional[float] = ..., status_code: _Optional[int] = ..., hang: _Optional[bool] = ..., reset: _Optional[bool] = ..., goaway: _Optional[bool] = ..., charge_after_ms: _Optional[float] = ..., duplicate: _Optional[bool] = ..., decline: _Optional[bool] = ..., wrong_amount: _Optional[bool] = ..., method: _Optional[_Union[Method, str]] = ..., after_execution: _Optional[bool] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("calls", "answers", "charges", "calls_in_flight", "faults", "request_ids", "process_cpu_s", "process_ids")
    class CallsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AnswersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    class FaultsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CALLS_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    CALLS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_IDS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_CPU_S_FIELD_NUMBER: _ClassVar[int]
    PROCESS_IDS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.ScalarMap[str, int]
    answers: _containers.ScalarMap[int, int]
    charges: int
    calls_in_flight: int
    faults: _containers.ScalarMap[str, int]
    request_ids: _containers.RepeatedScalarFieldContainer[str]
    process_cpu_s: _containers.RepeatedScalarFieldContainer[float]
    process_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, calls: _Optional[_Mapping[str, int]] = ..., answers: _Optional[_Mapping[int, int]] = ..., charges: _Optional[int] = ..., calls_in_flight: _Optional[int] = ..., faults: _Optional[_Mapping[str, int]] = ..., request_ids: _Optional[_Iterable[str]] = ..., process_cpu_s: _Optional[_Iterable[float]] = ..., process_ids: _Optional[_Iterable[int]] = ...) -> None: ...
