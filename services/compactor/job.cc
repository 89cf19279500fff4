#include "services/compactor/job.h"

#include "common/errors/errors.h"

namespace sluice::compactor {

absl::Status StoreSegment(const Job& job, uint64_t number, const TemporaryFile& file,
                          v1::SegmentInfo* info) {
  const v1::Lease& lease = job.lease.lease();
  info->set_token(lease.token());
  info->set_number(number);
  SLUICE_ASSIGN_OR_RETURN(const CollectionId collection, ParseCollectionId(lease.collection_id()));
  return job.workplace.objects.Put(
      SegmentObjectName(collection, Incarnation(lease.incarnation()), lease.token(), number),
      file.path());
}

}  // namespace sluice::compactor
