/* Every reader with its n-th allocation failing, for every n: a clean refusal, and nothing left behind.
 *
 * The linker sends the calls of this program to the functions __wrap_X below (see CMakeLists.txt), the ones
 * of shared libraries not: those of jansson and libyaml are theirs to judge. Memory that they hold for us
 * is watched by the search for leaks at the end of a checked build. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "loader/expected_tensors.h"
#include "loader/flow_yaml.h"
#include "loader/fold.h"
#include "loader/model_config.h"
#include "loader/onnx_names.h"
#include "loader/safetensors.h"
#include "loader/synthetic.h"
#include "loader/token2wav_tensors.h"
#include "loader/token2wav_writer.h"
#include "loader/torch_zip.h"
#include "loader/vocab_file.h"
#include "tests/support/test_files.h"
#include "tokenizer/encode.h"
#include "tokenizer/text_stream.h"
#include "tools/golden_case.h"

/* ---- failing allocations ---- */

/* The wrapped functions have no argument that could carry this. */
static struct {
    int64_t until;  /* calls that still succeed; negative: all do */
    bool once;      /* after the one that fails all succeed again; else none */
    int64_t failed; /* calls that did */
    int64_t live;   /* blocks and mappings that were taken and not given back */
} allocations = {.until = -1};

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
void __real_free(void *block);
void *__real_mmap(void *place, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *place, size_t bytes);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);
void *__wrap_mmap(void *place, size_t bytes, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *place, size_t bytes);

static bool may_allocate(void)
{
    if (allocations.until == 0) {
        allocations.until = allocations.once ? -1 : 0;
        allocations.failed++;
        errno = ENOMEM;
        return false;
    }
    if (allocations.until > 0)
        allocations.until--;
    return true;
}

static void *count_block(void *block)
{
    allocations.live += block != NULL;
    return block;
}

void *__wrap_malloc(size_t bytes)
{
    return may_allocate() ? count_block(__real_malloc(bytes)) : NULL;
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    return may_allocate() ? count_block(__real_calloc(n, bytes)) : NULL;
}

void *__wrap_realloc(void *block, size_t bytes)
{
    if (!may_allocate())
        return NULL;
    return block == NULL ? count_block(__real_malloc(bytes)) : __real_realloc(block, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return may_allocate() ? count_block(__real_aligned_alloc(alignment, bytes)) : NULL;
}

char *__wrap_strdup(const char *text)
{
    return may_allocate() ? count_block(__real_strdup(text)) : NULL;
}

void __wrap_free(void *block)
{
    allocations.live -= block != NULL;
    __real_free(block);
}

void *__wrap_mmap(void *place, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (!may_allocate())
        return MAP_FAILED;
    void *mapping = __real_mmap(place, bytes, protection, flags, fd, offset);
    allocations.live += mapping != MAP_FAILED;
    return mapping;
}

int __wrap_munmap(void *place, size_t bytes)
{
    allocations.live--;
    return __real_munmap(place, bytes);
}

/* ---- what is tried ---- */

typedef sa2_status (*trial)(const void *context, sa2_error *err);

/* Runs it with the first allocation failing, the second, ... until none does. */
static void expect_each_failure_clean(trial run, const void *context, bool once)
{
    for (int64_t n = 0;; n++) {
        sa2_error err = {0};
        int64_t live = allocations.live;
        allocations.failed = 0;
        allocations.once = once;
        allocations.until = n;
        sa2_status st = run(context, &err);
        allocations.until = -1;
        assert_int_equal(allocations.live, live);
        if (allocations.failed == 0) {
            if (st != SA2_OK)
                fail_msg("without a failure: %s", err.message);
            assert_true(n > 0);
            return;
        }
        if (st != SA2_ERR_NOMEM || err.message[0] == '\0')
            fail_msg("allocation %lld: %s: %s", (long long)n, sa2_status_name(st), err.message);
    }
}

/* One that fails alone, and one after which all fail. */
static void expect_clean_failures(trial run, const void *context)
{
    expect_each_failure_clean(run, context, true);
    expect_each_failure_clean(run, context, false);
}

/* Every tensor of the map, or the first failure; destroys the map. */
static sa2_status take_all(sa2_tensor_map *map, sa2_status st, sa2_error *err)
{
    for (int i = 0; st == SA2_OK && i < sa2_tensor_map_count(map); i++) {
        const sa2_tensor *shape = &sa2_tensor_map_entry(map, i)->tensor;
        sa2_tensor tensor;
        st = sa2_tensor_map_expect(map, sa2_tensor_map_entry(map, i)->name, shape->ndim,
                                   shape->shape, &tensor, err);
    }
    sa2_tensor_map_destroy(map);
    return st;
}

/* ---- files with weights ---- */

static sa2_status read_safetensors(const void *path, sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    sa2_status st = sa2_safetensors_open(&map, path, err);
    return take_all(map, st, err);
}

static sa2_status read_torch(const void *path, sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    sa2_status st = sa2_torch_zip_open(&map, path, "generator.", err);
    return take_all(map, st, err);
}

static sa2_status read_folded(const void *path, sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    sa2_status st = sa2_torch_zip_open(&map, path, NULL, err);
    if (st == SA2_OK)
        st = sa2_fold_weight_norm(map, err);
    return take_all(map, st, err);
}

static sa2_status read_speech_tokenizer(const void *path, sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    sa2_status st = sa2_onnx_map_open(&map, SA2_ONNX_SPEECH_TOKENIZER, path, err);
    return take_all(map, st, err);
}

static sa2_status read_speaker(const void *path, sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    sa2_status st = sa2_onnx_map_open(&map, SA2_ONNX_SPEAKER, path, err);
    if (st == SA2_OK)
        st = sa2_fold_batch_norm(map, 1e-5, err);
    return take_all(map, st, err);
}

static void files_with_weights_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        trial run;
        const char *file;
    } cases[] = {
        {read_safetensors, "fuzz/corpus/safetensors/all_dtypes"},
        {read_torch, "fuzz/corpus/torch_zip/strided"},
        {read_torch, "fuzz/corpus/torch_zip/zip64"},
        {read_folded, "fuzz/corpus/torch_zip/written"},
        {read_speech_tokenizer, "fuzz/corpus/onnx/speech_tokenizer"},
        {read_speaker, "fuzz/corpus/onnx/speaker"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        expect_clean_failures(cases[i].run, test_data(path, sizeof path, cases[i].file));
    }
}

static void shards_with_an_index_are_read_or_refused(void **state)
{
    (void)state;
    char folder[256], path[512], other[512];
    static const char index[] = "{\"weight_map\": {\"a\": \"one\", \"b\": \"one\", \"c\": \"one\", "
                                "\"d\": \"one\", \"e\": \"one\", \"f\": \"one\"}}";
    size_t n;
    test_folder_create(folder, sizeof folder);
    char *shard =
        test_read_file(test_data(path, sizeof path, "fuzz/corpus/safetensors/all_dtypes"), &n);
    snprintf(other, sizeof other, "%s/one", folder);
    test_write_file(other, shard, n);
    free(shard);
    snprintf(other, sizeof other, "%s/model.safetensors.index.json", folder);
    test_write_file(other, index, sizeof index - 1);
    expect_clean_failures(read_safetensors, folder);
    test_folder_remove(folder);
}

/* ---- files with numbers ---- */

static sa2_status read_config(const void *path, sa2_error *err)
{
    sa2_model_config config;
    sa2_tensor_list list = {0};
    sa2_status st = sa2_model_config_read(&config, path, err);
    if (st == SA2_OK) {
        config.encoder.ffn = config.adaptor.inner = 1;
        st = sa2_expected_tensors(&list, &config, err);
    }
    sa2_tensor_list_destroy(&list);
    return st;
}

static sa2_status read_flow_yaml(const void *path, sa2_error *err)
{
    sa2_flow_config config;
    sa2_tensor_list list = {0};
    sa2_status st = sa2_flow_yaml_read(&config, path, err);
    if (st == SA2_OK)
        st = sa2_flow_tensors(&list, &config, err);
    sa2_tensor_list_destroy(&list);
    return st;
}

static sa2_status read_golden(const void *path, sa2_error *err)
{
    sa2_golden_case *golden = NULL;
    sa2_status st = sa2_golden_case_open(&golden, path, err);
    sa2_golden_case_close(golden);
    return st;
}

static void configurations_and_golden_cases_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        trial run;
        const char *file;
    } cases[] = {
        {read_config, "fuzz/corpus/config/tiny"},
        {read_flow_yaml, "fuzz/corpus/flow_yaml/tiny"},
        {read_golden, "fuzz/corpus/golden/whole"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        expect_clean_failures(cases[i].run, test_data(path, sizeof path, cases[i].file));
    }
}

/* ---- tokenizers ---- */

static sa2_status read_vocab(const void *folder, sa2_error *err)
{
    sa2_vocab_file vocab = {0};
    sa2_status st = sa2_vocab_file_load(&vocab, folder, err);
    sa2_vocab_file_destroy(&vocab);
    return st;
}

/* All of tokenizer.json, then the two files that stand for it. */
static void tokenizer_files_are_read_or_refused(void **state)
{
    (void)state;
    static const char *const files[] = {"vocab.json", "merges.txt", "added_tokens.json",
                                        "special_tokens_map.json"};
    char path[512], relative[128], folder[256], other[512];
    expect_clean_failures(read_vocab, test_data(path, sizeof path, "golden/tiny_tokenizer"));
    test_folder_create(folder, sizeof folder);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t n;
        snprintf(relative, sizeof relative, "golden/tiny_tokenizer/%s", files[i]);
        char *bytes = test_read_file(test_data(path, sizeof path, relative), &n);
        snprintf(other, sizeof other, "%s/%s", folder, files[i]);
        test_write_file(other, bytes, n);
        free(bytes);
    }
    expect_clean_failures(read_vocab, folder);
    test_folder_remove(folder);
}

static sa2_status make_tokenizer(const void *context, sa2_error *err)
{
    static const char text[] = "Two words, an \xef\xac\x81 a\xcc\x81 \xff and "
                               "averylongwordthatnocachekeepsinmemory<|EOT|>\n";
    const sa2_vocab_file *vocab = context;
    sa2_tokenizer *tokenizer = NULL;
    sa2_encoder *encoder = NULL;
    sa2_ids ids = {0};
    sa2_bytes decoded = {0};
    sa2_tokenizer_source source = {.vocab = vocab->vocab,
                                   .merges = vocab->merges,
                                   .added = vocab->added,
                                   .n_vocab = (size_t)vocab->n_vocab,
                                   .n_merges = (size_t)vocab->n_merges,
                                   .n_added = (size_t)vocab->n_added};
    sa2_status st = sa2_tokenizer_create(&tokenizer, &source, err);
    if (st == SA2_OK)
        st = sa2_encoder_create(&encoder, tokenizer, err);
    if (st == SA2_OK)
        st = sa2_encode(encoder, text, sizeof text - 1, (sa2_span){0}, &ids, err);
    if (st == SA2_OK)
        st = sa2_decode(tokenizer, ids.data, ids.n, false, &decoded, err);
    sa2_bytes_free(&decoded);
    sa2_ids_free(&ids);
    sa2_encoder_destroy(encoder);
    sa2_tokenizer_destroy(tokenizer);
    return st;
}

static void a_tokenizer_is_made_and_used_or_refused(void **state)
{
    (void)state;
    char path[512];
    sa2_vocab_file vocab = {0};
    test_data(path, sizeof path, "golden/tiny_tokenizer");
    assert_int_equal(sa2_vocab_file_load(&vocab, path, NULL), SA2_OK);
    expect_clean_failures(make_tokenizer, &vocab);
    sa2_vocab_file_destroy(&vocab);
}

/* ---- synthetic weights ---- */

static sa2_status make_synthetic(const void *preset, sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    uint64_t bytes = 0;
    sa2_status st = sa2_synthetic_map(&map, preset, 0, err);
    sa2_tensor_map_destroy(map);
    for (int file = 0; file < SA2_TOKEN2WAV_FILES && st == SA2_OK; file++) {
        map = NULL;
        st = sa2_token2wav_synthetic_map(&map, (sa2_token2wav_file)file, preset, 0, err);
        sa2_tensor_map_destroy(map);
    }
    return st == SA2_OK ? sa2_token2wav_bytes(&bytes, preset, err) : st;
}

static void synthetic_weights_are_listed_or_refused(void **state)
{
    (void)state;
    sa2_preset preset;
    assert_int_equal(sa2_preset_find(&preset, "tiny", NULL), SA2_OK);
    expect_clean_failures(make_synthetic, &preset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_with_weights_are_read_or_refused),
        cmocka_unit_test(shards_with_an_index_are_read_or_refused),
        cmocka_unit_test(configurations_and_golden_cases_are_read_or_refused),
        cmocka_unit_test(tokenizer_files_are_read_or_refused),
        cmocka_unit_test(a_tokenizer_is_made_and_used_or_refused),
        cmocka_unit_test(synthetic_weights_are_listed_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
