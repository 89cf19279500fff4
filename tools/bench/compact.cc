#include "tools/bench/compact.h"

#include <string>

#include "common/errors/errors.h"

namespace sluice::bench {
namespace {

struct Part {
  const char* name;
  absl::StatusOr<Figures> (*run)(const BenchOptions&);
};
constexpr Part kParts[] = {{"build", BenchCompactBuild},
                           {"embed", BenchCompactEmbed},
                           {"growth", BenchCompactGrowth},
                           {"fresh", BenchCompactFresh},
                           {"query", BenchCompactQuery}};

}  // namespace

absl::StatusOr<Figures> BenchCompact(const BenchOptions& options) {
  Figures all;
  for (const Part& part : kParts) {
    if (!options.part.empty() && options.part != part.name) continue;
    SLUICE_ASSIGN_OR_RETURN(const Figures figures, part.run(options));
    for (const auto& [key, value] : figures.items()) {
      (key == "raw" ? all["raw"][part.name] : all[key]) = value;
    }
  }
  return all;
}

}  // namespace sluice::bench
