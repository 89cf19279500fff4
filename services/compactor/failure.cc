#include "services/compactor/failure.h"

#include "common/errors/errors.h"

namespace sluice::compactor {

Failure ClassOf(const absl::Status& error) {
  switch (ReasonOf(error).value_or(Reason::OVERLOADED)) {
    case Reason::LEASE_LOST:
    case Reason::APPLIED_MOVED:
    case Reason::INPUT_GONE:
    case Reason::INCARNATION_CHANGED:
    case Reason::COLLECTION_NOT_FOUND:
    case Reason::COLLECTION_DELETED:
      return Failure::kLost;
    default:
      break;
  }
  switch (error.code()) {
    // Corrupt records or segments; an object that a fresh claim names is missing; records trimmed
    // that are not applied; a request that the log refuses however often it is repeated.
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
      return Failure::kCollection;
    default:
      return Failure::kInfrastructure;
  }
}

std::string_view FailureName(Failure failure) {
  switch (failure) {
    case Failure::kLost:
      return "lost";
    case Failure::kInfrastructure:
      return "infrastructure";
    case Failure::kCollection:
      break;
  }
  return "collection";
}

}  // namespace sluice::compactor
