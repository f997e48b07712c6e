/* small_model.h - a model of synthetic weights, small enough for a checked build, with the tokenizer of preset tiny.
 */
#ifndef SA2_TESTS_SUPPORT_SMALL_MODEL_H
#define SA2_TESTS_SUPPORT_SMALL_MODEL_H

#include "loader/preset.h"
#include "runtime/model.h"

typedef struct test_model {
    sa2_backend *backend;
    sa2_model model;
} test_model;

/* Two layers of 128 columns and 1024 positions; the encoder has two of 64. Fails the test when it cannot. */
void test_model_open(test_model *model, int n_threads);
void test_model_open_on(test_model *model, const char *device, int n_threads);
void test_model_open_with(test_model *model, const sa2_backend_options *device);

/* What it is made of. */
sa2_preset test_small_preset(void);

/* Preset tiny with seed 0, as golden cases have it; of one rank among n_ranks (0: there is no other). */
void test_model_open_tiny(test_model *model, int n_threads);
void test_model_open_tiny_rank(test_model *model, int n_threads, int rank, int n_ranks);
void test_model_close(test_model *model);

#endif
