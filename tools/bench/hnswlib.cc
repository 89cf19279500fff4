#include "tools/bench/hnswlib.h"

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace sluice::bench {
namespace {

absl::Status Write(const std::filesystem::path& path, const VectorList& vectors) {
  std::ofstream out(path, std::ios::binary);
  for (size_t i = 0; i < vectors.count; ++i) {
    const std::vector<float> vector = vectors.at(i);
    out.write(reinterpret_cast<const char*>(vector.data()),
              static_cast<std::streamsize>(vector.size() * sizeof(float)));
  }
  if (!out.flush()) return absl::UnavailableError(absl::StrCat("cannot write ", path.string()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Figures> RunHnswlib(const std::filesystem::path& folder, uint32_t dimension,
                                   const VectorList& vectors, const VectorList& queries,
                                   int threads) {
  const testing::TempFolder files(folder);
  const std::filesystem::path vectors_path = files.path() / "vectors";
  SLUICE_RETURN_IF_ERROR(Write(vectors_path, vectors));
  testing::ProcessOptions options{
      .program = testing::BinaryPath("sluice-bench-hnswlib"),
      .arguments = {"--vectors", vectors_path, "--dimension", std::to_string(dimension),
                    "--threads", std::to_string(threads)}};
  if (queries.count != 0) {
    const std::filesystem::path queries_path = files.path() / "queries";
    SLUICE_RETURN_IF_ERROR(Write(queries_path, queries));
    options.arguments.insert(options.arguments.end(), {"--queries", queries_path});
  }
  SLUICE_ASSIGN_OR_RETURN(const testing::Finished finished,
                          testing::RunToEnd(options, "", std::chrono::minutes(30)));
  if (finished.exit_status != 0) {
    return absl::InternalError(absl::StrCat("sluice-bench-hnswlib: ", finished.error_output));
  }
  return Figures::parse(finished.output);
}

Figures LeastWithRecall(const Figures& search, double recall) {
  for (const Figures& entry : search) {
    if (entry["recall"].get<double>() >= recall) return entry;
  }
  return search.back();
}

}  // namespace sluice::bench
