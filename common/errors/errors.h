// Errors as callers see them: a canonical code, a reason from one list, what is concerned, when to
// retry, and whether this attempt is in. Inside, an absl::Status carries all of it as payloads; at
// the edge it becomes a grpc::Status and back. Thread-safe: everything here is a pure function.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"

namespace sluice::v1 {
class Error;
}

namespace sluice {

// Every reason that an error of Sluice can name; README.md lists them (a test compares).
//   X(name, canonical code, help)
#define SLUICE_REASONS(X)                                                                          \
  X(INVALID_REQUEST, kInvalidArgument,                                                             \
    "A field of the request is missing or out of range; metadata: field")                          \
  X(INVALID_RECORD, kInvalidArgument,                                                              \
    "A record breaks a rule; metadata: record (index in the request), field")                      \
  X(DIMENSION_MISMATCH, kInvalidArgument,                                                          \
    "A vector has another dimension than its collection; metadata: record, expected, actual")      \
  X(TOO_LARGE, kInvalidArgument,                                                                   \
    "More records or bytes than one request may carry; metadata: limit, max, actual")              \
  X(MALFORMED_REQUEST, kInvalidArgument,                                                           \
    "The request's bytes are not a message of the expected type")                                  \
  X(COLLECTION_NOT_FOUND, kNotFound, "There is no collection of this id or name")                  \
  X(COLLECTION_DELETED, kNotFound, "The collection was deleted")                                   \
  X(COLLECTION_EXISTS, kAlreadyExists, "The name is taken; metadata: collection_id")               \
  X(SCHEMA_MISMATCH, kFailedPrecondition, "The name is taken by a collection of another schema")   \
  X(VERSION_MISMATCH, kAborted, "The settings were changed by somebody else; metadata: version")   \
  X(REQUEST_ID_REUSED, kInvalidArgument, "This request_id came before with other content")         \
  X(REQUEST_ID_EXPIRED, kFailedPrecondition,                                                       \
    "This request_id is older than the dedupe window: whether an earlier attempt was appended is " \
    "no longer known")                                                                             \
  X(REQUEST_ID_IN_FUTURE, kInvalidArgument,                                                        \
    "This request_id is more than a minute ahead of the log's clock")                              \
  X(INCARNATION_CHANGED, kFailedPrecondition,                                                      \
    "The log was restored from a backup since: SeqIds may mean other records; metadata: "          \
    "incarnation")                                                                                 \
  X(BEYOND_TAIL, kOutOfRange,                                                                      \
    "The start, or the SeqId that a condition names, lies beyond the tail; metadata: tail_seq_id") \
  X(PREDECESSOR_MISSING, kFailedPrecondition,                                                      \
    "The append that was named as predecessor is not in, or is older than the dedupe window")      \
  X(TAIL_MOVED, kAborted, "The tail is not the one that the push names; metadata: tail_seq_id")    \
  X(IDS_CHANGED, kAborted,                                                                         \
    "An id has a record after the SeqId that the push names; metadata: id, seq_id (the first), "   \
    "tail_seq_id")                                                                                 \
  X(OBSERVED_TOO_OLD, kFailedPrecondition,                                                         \
    "More was written since the SeqId that the push names than is looked at, or some of it is "    \
    "trimmed: read again; metadata: tail_seq_id, trim_seq_id")                                     \
  X(TRIMMED, kOutOfRange,                                                                          \
    "Some of the records asked for are no longer kept; metadata: first_seq_id (the first kept)")   \
  X(NOT_APPLIED, kFailedPrecondition,                                                              \
    "Records that the segments do not reflect yet cannot be trimmed; metadata: applied_seq_id")    \
  X(CURSOR_BEHIND, kFailedPrecondition,                                                            \
    "Records that a cursor has not passed cannot be trimmed; metadata: cursor, seq_id (where it "  \
    "stands)")                                                                                     \
  X(CURSOR_NOT_FOUND, kNotFound, "The log has no cursor of this name; metadata: cursor")           \
  X(CURSOR_MOVED, kAborted,                                                                        \
    "The cursor stands elsewhere than the call expects, or beyond where the call would move it; "  \
    "metadata: cursor, seq_id (where it stands)")                                                  \
  X(CURSOR_LOST, kFailedPrecondition,                                                              \
    "The cursor held too much for too long, and holds nothing any more: roll it back to a place "  \
    "that is kept, or delete it; metadata: cursor, loss (AGE or BYTES), seq_id (where it stood), " \
    "first_seq_id (the first kept)")                                                               \
  X(TOO_MANY_CURSORS, kFailedPrecondition,                                                         \
    "The log has as many cursors as it may have; metadata: max")                                   \
  X(LOG_ONLY, kFailedPrecondition,                                                                 \
    "The collection is a log and nothing else: there is nothing to query; subscribe to it")        \
  X(LOG_CORRUPT, kDataLoss,                                                                        \
    "Stored bytes do not match their checksum or order; metadata: collection_id, seq_id")          \
  X(SEGMENT_CORRUPT, kDataLoss, "A segment object does not match its checksum; metadata: object")  \
  X(SEGMENT_MISSING, kUnavailable,                                                                 \
    "A segment that the log lists is not in the object store that the reader was given; "          \
    "metadata: object")                                                                            \
  X(OVERLOADED, kResourceExhausted, "The server is busy: retry after the given delay")             \
  X(BACKLOG, kResourceExhausted,                                                                   \
    "Too many bytes of this collection are not applied yet: slow down until compaction catches "   \
    "up")                                                                                          \
  X(READ_ONLY, kUnavailable,                                                                       \
    "The log cannot write (disk full or failing); it recovers by itself once it can")              \
  X(STARTING, kUnavailable, "The server is starting: retry in a moment")                           \
  X(DRAINING, kUnavailable, "The server is stopping: retry, elsewhere or in a moment")             \
  X(COMMIT_UNKNOWN, kUnavailable,                                                                  \
    "The write to the journal failed half way: the change may be in; retry with the same id")      \
  X(LEASE_LOST, kAborted,                                                                          \
    "Another claim of this kind was granted since, or the lease was never granted")                \
  X(APPLIED_MOVED, kAborted,                                                                       \
    "`applied` is not where the compaction began; metadata: applied_seq_id")                       \
  X(INPUT_GONE, kAborted,                                                                          \
    "A segment to be merged is no longer in the list; metadata: token, number")                    \
  X(COMMIT_OUT_OF_ORDER, kInvalidArgument,                                                         \
    "Commit numbers of a lease go 1, 2, 3, ...; metadata: expected")                               \
  X(BACKUPS_OFF, kFailedPrecondition,                                                              \
    "The log was not given a folder for backups (the setting log.backup.folder)")                  \
  X(BACKUP_BUSY, kAborted, "The folder of backups is in use, by this log or another process")      \
  X(BACKUP_NOT_FOUND, kNotFound, "There is no backup of this id, or no pin of this number")        \
  X(BACKUP_DAMAGED, kDataLoss,                                                                     \
    "A backup's files do not match their checksums, or do not open as a log; metadata: backup_id") \
  X(BACKUP_FAILED, kUnavailable,                                                                   \
    "A backup could not be made or deleted; what is left of it is listed, and can be deleted")     \
  X(TOO_MANY_BACKUPS, kFailedPrecondition, "The log keeps no more backups: delete old ones first") \
  X(NO_EMBEDDER, kFailedPrecondition, "The collection has no embedder: query by vector")           \
  X(NO_DIMENSION, kFailedPrecondition,                                                             \
    "The collection has no dimension yet: no vector was written")                                  \
  X(UNKNOWN_EMBEDDER, kFailedPrecondition,                                                         \
    "The settings of this service have no embedder of the name that the collection gives; "        \
    "metadata: embedder")                                                                          \
  X(EMBEDDER_UNAVAILABLE, kUnavailable,                                                            \
    "The collection's embedder does not answer, or has too much to do: retry after the given "     \
    "delay; metadata: embedder")                                                                   \
  X(EMBEDDER_MISFIT, kFailedPrecondition,                                                          \
    "The embedder serves another model or dimension than the collection's; metadata: embedder")    \
  X(TEXT_REFUSED, kInvalidArgument,                                                                \
    "The collection's embedder does not take this text; metadata: embedder")

enum class Reason {
#define X(name, code, help) name,
  SLUICE_REASONS(X)
#undef X
};

std::string_view ReasonName(Reason reason);
absl::StatusCode ReasonCode(Reason reason);

// Whether the attempt that failed changed anything.
enum class Outcome { kIn, kNotIn, kUnknown };

// An error of this reason. `metadata` says what is concerned; keys as listed above.
absl::Status MakeError(
    Reason reason, std::string_view message,
    std::initializer_list<std::pair<std::string_view, std::string>> metadata = {});

// The same with a delay after which to retry.
absl::Status MakeRetryableError(
    Reason reason, std::string_view message, std::chrono::milliseconds retry_after,
    std::initializer_list<std::pair<std::string_view, std::string>> metadata = {});

// What an error carries. Of an error that is not ours: nullopt / empty / nullopt.
std::optional<Reason> ReasonOf(const absl::Status& error);
std::string ErrorMetadata(const absl::Status& error, std::string_view key);
std::optional<std::chrono::milliseconds> RetryAfter(const absl::Status& error);

// The attempt's outcome as stated by `error`; an error that says nothing means kUnknown, OK means
// kIn.
Outcome OutcomeOf(const absl::Status& error);
absl::Status WithOutcome(absl::Status error, Outcome outcome);
std::string_view OutcomeName(Outcome outcome);

// `prefix: message`, everything else kept.
absl::Status Annotate(const absl::Status& error, std::string_view prefix);

// At the edge. The server form also sets the trailing metadata `outcome`, if the error states one.
grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContextBase* context);
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context);
absl::Status FromGrpc(const grpc::Status& status);
// The same where an error is an answer among others on a stream. From a message without a code, or
// with OK for one: INTERNAL.
v1::Error ToMessage(const absl::Status& error);
absl::Status FromMessage(const v1::Error& message);

}  // namespace sluice

#define SLUICE_CONCAT_INNER(a, b) a##b
#define SLUICE_CONCAT(a, b) SLUICE_CONCAT_INNER(a, b)

// Returns the error of an expression of type absl::Status from the enclosing function.
#define SLUICE_RETURN_IF_ERROR(expression)                                                    \
  do {                                                                                        \
    if (absl::Status sluice_status = (expression); !sluice_status.ok()) return sluice_status; \
  } while (false)

// `SLUICE_ASSIGN_OR_RETURN(auto x, F())`: takes the value of a StatusOr, or returns its error.
#define SLUICE_ASSIGN_OR_RETURN(declaration, expression) \
  SLUICE_ASSIGN_OR_RETURN_INNER(SLUICE_CONCAT(sluice_or_, __LINE__), declaration, expression)
#define SLUICE_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                          \
  if (!temporary.ok()) return std::move(temporary).status();              \
  declaration = *std::move(temporary)
