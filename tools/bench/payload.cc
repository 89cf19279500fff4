#include "tools/bench/payload.h"

#include <span>

#include "common/record/fold.h"

namespace sluice::bench {

std::vector<v1::PushLogsRequest> MakePushes(const Payload& payload,
                                            const std::string& collection_id, size_t count,
                                            size_t records, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> component;
  std::vector<float> vector(payload.dimension);
  std::vector<v1::PushLogsRequest> pushes(count);
  for (size_t p = 0; p < count; ++p) {
    pushes[p].set_collection_id(collection_id);
    for (size_t r = 0; r < records; ++r) {
      v1::OperationRecord* record = pushes[p].add_records();
      record->set_id("document-" + std::to_string(p) + "-" + std::to_string(r));
      record->set_operation(v1::OPERATION_UPSERT);
      for (float& c : vector) c = component(random);
      SetVector(vector, record->mutable_vector());
      std::string& document = *record->mutable_document();
      for (uint32_t i = 0; i < payload.document_bytes; ++i) {
        document.push_back(static_cast<char>('a' + random() % 26));
      }
    }
  }
  return pushes;
}

}  // namespace sluice::bench
