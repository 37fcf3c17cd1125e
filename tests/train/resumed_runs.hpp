/// Runs of tiny models that are ended and go on, and what their errors say.
#pragma once

#include "catch.hpp"
#include "errors.hpp"
#include "io/temporary_folder.hpp"
#include "train/tiny_training.hpp"

#include <string>

namespace moevit::test {

inline const MemoryDataset& images() {
  static const MemoryDataset dataset = striped_images(60);
  return dataset;
}

inline constexpr const char* files[] = {"weights.safetensors", "best.safetensors", "checkpoint.safetensors",
                                        "log.jsonl", "curves.svg"};

/// A run that is ended after every `step` steps gives the files of an unbroken one. run(options, last): one run, or
/// what is left of one that is ended behind step `last`.
template <class Run>
void check_resumes(TrainerOptions options, Run run) {
  const TemporaryFolder folder;
  options.folder = folder / "unbroken";
  run(options, Index{0});
  for (const Index pace : {1, 3, 5, 8, 23}) {
    INFO("ended every " << pace << " steps");
    TrainerOptions broken = options;
    broken.folder = folder / ("broken" + std::to_string(pace));
    broken.checkpoint_every = pace == 1 ? 1 : 4;
    broken.threads = pace % 2 ? 2 : 1;
    int kills = 0;
    for (Index last = pace;; last += pace) try {
        run(broken, last);
        break;
      } catch (const Killed&) {
        ++kills;
      }
    CHECK(kills == options.steps / pace);
    for (const char* name : files) {
      INFO(name);
      CHECK(bytes_of(options.folder / name) == bytes_of(broken.folder / name));
      CHECK_FALSE(bytes_of(options.folder / name).empty());
    }
  }
}

template <class Net>
void check_resumes(const TrainerOptions& options) {
  check_resumes(options, [](const TrainerOptions& own, Index last) { train<Net>(images(), own, last); });
}

}  // namespace moevit::test
