#include "services/compactor/settings.h"

#include <utility>

namespace sluice::compactor {

void CompactorSettings::Declare(server::Settings& settings, std::string default_log_address) {
  settings.Add("compactor.log_address", &log_address, std::move(default_log_address),
               "Address of the log service, as gRPC takes it (HOST:PORT or a URI); empty only "
               "where the log runs in the same process");
  settings.Add("compactor.objects", &objects, "sluice-data/objects",
               "Where segments are stored, the same for all compactors and frontends: a folder, or "
               "s3://BUCKET/PREFIX");
  settings.Add(
      "compactor.workers", &workers, 0, 0, 256,
      "Collections compacted at once; 0 means one per CPU, and where embedders are named at "
      "least 24, which mostly wait for them");
  settings.Add("compactor.merge_workers", &merge_workers, 1, 0, 64,
               "Merges at once, beside the compactions; 0 leaves merging to other compactors");
  settings.Add("compactor.graph_threads", &graph_threads, 1, 1, 256,
               "Threads that build the graph of a merged segment (common/segment: Search); each "
               "merge has so many");
  settings.Add("compactor.lease_ms", &lease_ms, 10'000, 1'000, 600'000,
               "How long a claim holds without renewal; renewed each third of it, so that only a "
               "worker that died or hangs loses it");
  settings.Add("compactor.claim_wait_ms", &claim_wait_ms, 2'000, 10, 60'000,
               "How long one claim waits at the log for work; also how long a stop may take when "
               "there is none");
  settings.Add("compactor.turn_ms", &turn_ms, 5'000, 1, 3'600'000,
               "How long a collection with a long backlog is worked on before others have their "
               "turn: the batch that is at hand then is the last, and so is the 32nd");
  settings.Add("compactor.batch_bytes", &batch_bytes, 16 << 20, 1 << 10, 1 << 30,
               "Bytes of records that one commit applies, at most; each worker holds two batches, "
               "in about twice these bytes each");
  settings.Add("compactor.batch_records", &batch_records, 50'000, 1, 1'000'000,
               "Records that one commit applies, at most");
  settings.Add("compactor.cache_bytes", &cache_bytes, 64 << 20, 0, uint64_t{1} << 40,
               "Memory for id indexes of segments kept open between compactions");
  settings.Add("compactor.garbage_interval_ms", &garbage_interval_ms, 10'000, 10, 3'600'000,
               "Pause between looks at the log's list of objects to delete");
  settings.Add("compactor.embed_patience_ms", &embed_patience_ms, 10'000, 0, 600'000,
               "How long no call to an embedder may succeed until it is taken to be down: the "
               "collections that wait for it are released then, and tried again later");
  settings.Add("compactor.owe_after_ms", &owe_after_ms, 60'000, 0, 86'400'000,
               "How long no call to an embedder may succeed until rows are applied without their "
               "vectors, which are then owed, and filled in once it is back");
  settings.Add(
      "compactor.vector_cache", &vector_cache, "sluice-data/vectors",
      "Folder, of one process, for vectors that embedders elsewhere have made: a text that "
      "comes again is not sent again");
  settings.Add("compactor.vector_cache_bytes", &vector_cache_bytes, uint64_t{1} << 30, 0,
               uint64_t{64} << 30, "Bytes kept there, the newest; 0: none are, and no folder");
  settings.AddNamed("compactor.embedders", &embedders,
                    "An embedding model that is served elsewhere; NAME is what collections give as "
                    "their embedder's kind");
  settings.Add("compactor.fault", &fault, "",
               "For tests: kill:STAGE or stop:STAGE ends or stops the process at that stage "
               "(README.md lists them)");
}

}  // namespace sluice::compactor
