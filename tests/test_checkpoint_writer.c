/* Synthetic checkpoints: what is written is read back bit for bit, and a broken one is told apart. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "loader/checkpoint_writer.h"
#include "loader/expected_tensors.h"
#include "loader/onnx_names.h"
#include "loader/safetensors.h"
#include "loader/safetensors_writer.h"
#include "loader/synthetic.h"
#include "loader/synthetic_vocab.h"
#include "loader/token2wav_tensors.h"
#include "loader/token2wav_writer.h"
#include "loader/torch_zip.h"
#include "runtime/model_files.h"
#include "tests/support/test_files.h"

/* A preset that is small enough for a test to write many times. */
static sa2_preset small_preset(void)
{
    sa2_preset preset;
    assert_int_equal(sa2_preset_find(&preset, "tiny", NULL), SA2_OK);
    preset.config.decoder.hidden = 64;
    preset.config.decoder.heads = 4;
    preset.config.decoder.kv_heads = 2;
    preset.config.decoder.head_dim = 16;
    preset.config.decoder.ffn = 96;
    preset.config.decoder.layers = 2;
    preset.token2wav.flow_width = 16;
    preset.token2wav.dit_width = 32;
    preset.token2wav.dit_ffn = 48;
    preset.token2wav.vocoder_channels = 16;
    preset.token2wav.speech_width = 64;
    preset.token2wav.speech_ffn = 96;
    return preset;
}

static void write_checkpoint(const char *folder, const sa2_preset *preset, int64_t shard_bytes)
{
    sa2_error err = {0};
    sa2_checkpoint_options options = {.seed = 3, .shard_bytes = shard_bytes, .n_threads = 2};
    if (sa2_checkpoint_write(folder, preset, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

static void assert_same_values(sa2_tensor_map *a, sa2_tensor_map *b)
{
    sa2_error err = {0};
    assert_int_equal(sa2_tensor_map_count(a), sa2_tensor_map_count(b));
    for (int i = 0; i < sa2_tensor_map_count(a); i++) {
        const sa2_tensor *shape = &sa2_tensor_map_entry(a, i)->tensor;
        const char *name = sa2_tensor_map_entry(a, i)->name;
        sa2_tensor x, y;
        sa2_tensor_map_expect(a, name, shape->ndim, shape->shape, &x, &err);
        sa2_tensor_map_expect(b, name, shape->ndim, shape->shape, &y, &err);
        assert_string_equal(err.message, "");
        assert_int_equal(x.dtype, y.dtype);
        if (memcmp(x.data, y.data, sa2_tensor_bytes(&x)) != 0)
            fail_msg("%s differs", name);
        sa2_tensor_map_release(a);
        sa2_tensor_map_release(b);
    }
}

/* ---- a whole checkpoint ---- */

static void the_tiny_checkpoint_is_read_back_bit_for_bit(void **state)
{
    (void)state;
    char folder[256], path[512];
    sa2_preset tiny;
    sa2_model_config config;
    sa2_tensor_map *written = NULL, *made = NULL;
    sa2_tensor_list list = {0};
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder); /* empty ones are taken */
    assert_int_equal(sa2_preset_find(&tiny, "tiny", &err), SA2_OK);
    write_checkpoint(folder, &tiny, 0);

    assert_int_equal(sa2_safetensors_open(&written, folder, &err), SA2_OK);
    assert_int_equal(sa2_synthetic_map(&made, &tiny, 3, &err), SA2_OK);
    assert_same_values(written, made);

    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(sa2_model_config_read(&config, path, &err), SA2_OK);
    assert_int_equal(sa2_model_config_complete(&config, written, &err), SA2_OK);
    assert_memory_equal(&config, &tiny.config, sizeof config);
    assert_int_equal(sa2_expected_tensors(&list, &config, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_check(written, &list, &err), SA2_OK);
    sa2_tensor_list_destroy(&list);
    sa2_tensor_map_destroy(made);
    sa2_tensor_map_destroy(written);
    test_folder_remove(folder);
}

static void a_checkpoint_has_every_file_of_a_release(void **state)
{
    (void)state;
    static const char *const names[] = {
        "config.json",
        "model-00001-of-00001.safetensors",
        "model.safetensors.index.json",
        "vocab.json",
        "merges.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "token2wav/flow.yaml",
        "token2wav/flow.pt",
        "token2wav/hift.pt",
        "token2wav/campplus.onnx",
        "token2wav/speech_tokenizer_v2_25hz.onnx",
    };
    char folder[256], path[512];
    sa2_preset preset = small_preset();
    test_folder_create(folder, sizeof folder);
    write_checkpoint(folder, &preset, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (unlink(path) != 0)
            fail_msg("%s: %s", names[i], strerror(errno));
    }
    snprintf(path, sizeof path, "%s/token2wav", folder);
    assert_int_equal(rmdir(path), 0); /* works only when nothing else is there */
    assert_int_equal(rmdir(folder), 0);
}

static void its_token2wav_is_read_back_bit_for_bit(void **state)
{
    (void)state;
    char folder[256], path[512];
    sa2_preset tiny;
    sa2_flow_config flow;
    sa2_error err = {0};
    assert_int_equal(sa2_preset_find(&tiny, "tiny", &err), SA2_OK);
    sa2_token2wav_dims dims = sa2_token2wav_preset_dims(&tiny.token2wav);
    test_folder_create(folder, sizeof folder);
    write_checkpoint(folder, &tiny, 0);

    snprintf(path, sizeof path, "%s/token2wav/flow.yaml", folder);
    assert_int_equal(sa2_flow_yaml_read(&flow, path, &err), SA2_OK);
    assert_memory_equal(&flow, &dims.flow, sizeof flow);
    for (int file = 0; file < SA2_TOKEN2WAV_FILES; file++) {
        sa2_tensor_map *written = NULL, *made = NULL;
        snprintf(path, sizeof path, "%s/token2wav/%s", folder,
                 sa2_token2wav_file_name((sa2_token2wav_file)file));
        sa2_status st =
            file == SA2_FLOW_FILE || file == SA2_VOCODER_FILE
                ? sa2_torch_zip_open(&written, path, NULL, &err)
                : sa2_onnx_map_open(&written,
                                    file == SA2_SPEAKER_FILE ? SA2_ONNX_SPEAKER
                                                             : SA2_ONNX_SPEECH_TOKENIZER,
                                    path, &err);
        assert_int_equal(st, SA2_OK);
        assert_int_equal(
            sa2_token2wav_synthetic_map(&made, (sa2_token2wav_file)file, &tiny, 3, &err), SA2_OK);
        assert_same_values(written, made);
        sa2_tensor_map_destroy(made);
        sa2_tensor_map_destroy(written);
    }
    test_folder_remove(folder);
}

static void its_tokenizer_files_are_the_golden_ones_byte_for_byte(void **state)
{
    (void)state;
    static const char *const names[] = {"vocab.json",        "merges.txt",
                                        "tokenizer.json",    "tokenizer_config.json",
                                        "added_tokens.json", "special_tokens_map.json"};
    char folder[256], path[512], relative[128];
    sa2_preset preset = small_preset();
    test_folder_create(folder, sizeof folder);
    write_checkpoint(folder, &preset, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t n, n_golden;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        char *found = test_read_file(path, &n);
        snprintf(relative, sizeof relative, "golden/tiny_tokenizer/%s", names[i]);
        char *golden = test_read_file(test_data(path, sizeof path, relative), &n_golden);
        if (n != n_golden || memcmp(found, golden, n) != 0)
            fail_msg("%s differs", names[i]);
        free(golden);
        free(found);
    }
    test_folder_remove(folder);
}

static void ids_of_mini_are_those_of_the_release(void **state)
{
    (void)state;
    sa2_preset mini;
    sa2_vocab_file v = {0};
    assert_int_equal(sa2_preset_find(&mini, "mini", NULL), SA2_OK);
    assert_int_equal(sa2_synthetic_vocab(&v, &mini, NULL), SA2_OK);
    assert_int_equal(v.n_vocab, 151643);
    assert_int_equal(v.vocab[151642].id, 151642);
    static const sa2_added_entry anchors[] = {
        {"<|endoftext|>", 151643, true}, {"<|im_end|>", 151645, true},
        {"<tool_call>", 151657, false},  {"<|EOT|>", 151665, true},
        {"<audio_start>", 151688, true}, {"<audio_patch>", 151690, true},
        {"<tts_start>", 151693, true},   {"<audio_0>", 151696, false},
        {"<audio_6561>", 158257, false},
    };
    for (size_t i = 0; i < sizeof anchors / sizeof anchors[0]; i++) {
        const sa2_added_entry *found = &v.added[anchors[i].id - 151643];
        assert_int_equal(found->id, anchors[i].id);
        assert_string_equal(found->content, anchors[i].content);
        assert_int_equal(found->special, anchors[i].special);
    }
    sa2_vocab_file_destroy(&v);
}

static void shards_are_cut_before_they_grow_too_large(void **state)
{
    (void)state;
    char folder[256];
    sa2_preset preset = small_preset();
    sa2_tensor_map *written = NULL, *made = NULL;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    write_checkpoint(folder, &preset, 300000);
    assert_int_equal(sa2_safetensors_open(&written, folder, &err), SA2_OK);
    assert_int_equal(sa2_synthetic_map(&made, &preset, 3, &err), SA2_OK);
    assert_same_values(written, made);
    const char *first = sa2_tensor_map_entry(written, 0)->origin;
    const char *second = sa2_tensor_map_entry(written, 1)->origin;
    assert_non_null(strstr(first, "model-00001-of-000")); /* the embedding fills one alone */
    assert_non_null(strstr(second, "model-00002-of-000"));
    sa2_tensor_map_destroy(made);
    sa2_tensor_map_destroy(written);
    test_folder_remove(folder);
}

static void another_tokenizer_is_copied_if_its_ids_fit(void **state)
{
    (void)state;
    char folder[256], golden[512], message[1024];
    sa2_preset preset = small_preset();
    sa2_vocab_file v = {0};
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    test_data(golden, sizeof golden, "golden/tiny_tokenizer");
    sa2_checkpoint_options options = {.tokenizer = golden};
    assert_int_equal(sa2_checkpoint_write(folder, &preset, &options, &err), SA2_OK);
    assert_int_equal(sa2_vocab_file_load(&v, folder, &err), SA2_OK);
    assert_int_equal(v.n_vocab, 1000);
    sa2_vocab_file_destroy(&v);
    test_folder_remove(folder);

    preset.config.decoder.vocab = 7000;
    assert_int_equal(sa2_checkpoint_write(folder, &preset, &options, &err), SA2_ERR_ARG);
    snprintf(message, sizeof message, "tokenizer %s: ids to 7614, preset tiny has 7000 rows",
             golden);
    assert_string_equal(err.message, message);
    assert_int_not_equal(access(folder, F_OK), 0);
}

typedef struct progress_seen {
    int64_t done, total;
} progress_seen;

static void count_progress(void *context, int64_t done, int64_t total)
{
    progress_seen *seen = context;
    assert_true(done > seen->done && done <= total);
    assert_true(seen->total == 0 || seen->total == total);
    *seen = (progress_seen){done, total};
}

static void progress_rises_to_the_bytes_of_all_values(void **state)
{
    (void)state;
    char folder[256];
    progress_seen seen = {0};
    sa2_preset preset = small_preset();
    sa2_tensor_list list = {0};
    uint64_t token2wav_bytes = 0;
    assert_int_equal(sa2_expected_tensors(&list, &preset.config, NULL), SA2_OK);
    assert_int_equal(sa2_token2wav_bytes(&token2wav_bytes, &preset, NULL), SA2_OK);
    test_folder_create(folder, sizeof folder);
    sa2_checkpoint_options options = {.progress = count_progress, .context = &seen};
    assert_int_equal(sa2_checkpoint_write(folder, &preset, &options, NULL), SA2_OK);
    assert_int_equal(seen.total, sa2_tensor_list_bytes(&list) + token2wav_bytes);
    assert_int_equal(seen.done, seen.total);
    sa2_tensor_list_destroy(&list);
    test_folder_remove(folder);
}

static void a_folder_in_use_is_left_alone(void **state)
{
    (void)state;
    char folder[256], path[512], message[512];
    sa2_preset preset = small_preset();
    sa2_error err = {0};
    sa2_checkpoint_options options = {0};
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/mine", folder);
    test_write_file(path, "x", 1);
    assert_int_equal(sa2_checkpoint_write(folder, &preset, &options, &err), SA2_ERR_ARG);
    snprintf(message, sizeof message, "%s: a new or empty folder expected, 1 entries found",
             folder);
    assert_string_equal(err.message, message);
    assert_int_equal(access(path, F_OK), 0);
    test_folder_remove(folder);
}

/* A limit on the size of files stands for a disk that is full. */
static void a_full_disk_is_reported_and_nothing_is_left(void **state)
{
    (void)state;
    char parent[256], folder[512];
    sa2_preset preset = small_preset();
    sa2_error err = {0};
    sa2_checkpoint_options options = {0};
    struct rlimit before, small;
    test_folder_create(parent, sizeof parent);
    snprintf(folder, sizeof folder, "%s/model", parent);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 900000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    sa2_status st = sa2_checkpoint_write(folder, &preset, &options, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(st, SA2_ERR_IO);
    assert_non_null(strstr(err.message, "model-00001-of-00001.safetensors: File too large"));
    assert_int_equal(rmdir(parent), 0); /* works only when it is empty */
}

/* ---- a checkpoint that is broken ---- */

static void overwrite(const char *path, long from_end, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

/* Three shards by hand: the decoder of the list, the encoder with one wrong shape, the adaptor. */
static void write_broken_folder(const char *folder, const sa2_tensor_list *list)
{
    char path[512];
    json_t *weight_map = json_object();
    for (int part = 0; part < 3; part++) {
        static const char *const prefixes[] = {"model.", "encoder.", "adapter."};
        sa2_tensor_list shard = {0};
        char name[64];
        snprintf(name, sizeof name, "shard-%d.safetensors", part);
        for (int i = 0; i < list->n; i++) {
            sa2_tensor shape = list->items[i].shape;
            const char *item = list->items[i].name;
            if (strncmp(item, prefixes[part], strlen(prefixes[part])) != 0)
                continue;
            if (strcmp(item, "encoder.conv1.bias") == 0)
                shape.shape[0] += 1;
            sa2_tensor_list_add(&shard, SA2_BF16, shape.ndim, shape.shape, NULL, "%s", item);
            json_object_set_new(weight_map, item, json_string(name));
        }
        sa2_safetensors_writer *writer = NULL;
        size_t bytes = (size_t)sa2_tensor_list_bytes(&shard);
        void *zeros = calloc(1, bytes);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(sa2_safetensors_writer_create(&writer, path, &shard, NULL, 0, NULL),
                         SA2_OK);
        assert_int_equal(sa2_safetensors_writer_append(writer, zeros, bytes, NULL), SA2_OK);
        assert_int_equal(sa2_safetensors_writer_finish(writer, NULL), SA2_OK);
        sa2_safetensors_writer_destroy(writer);
        sa2_tensor_list_destroy(&shard);
        free(zeros);
    }
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    json_t *index = json_pack("{s:o}", "weight_map", weight_map);
    assert_int_equal(json_dump_file(index, path, 0), 0);
    json_decref(index);
}

static void missing_misshaped_and_nan_tensors_are_one_report(void **state)
{
    (void)state;
    char folder[256], path[512];
    static const unsigned char nan[2] = {0xc0, 0x7f};
    sa2_preset preset = small_preset();
    sa2_tensor_list list = {0};
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    assert_int_equal(sa2_expected_tensors(&list, &preset.config, &err), SA2_OK);
    write_broken_folder(folder, &list);
    snprintf(path, sizeof path, "%s/shard-2.safetensors", folder);
    overwrite(path, 2, nan, sizeof nan); /* the last value of adapter.linear2.bias */

    assert_int_equal(sa2_safetensors_open(&map, folder, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_check(map, &list, &err), SA2_ERR_FORMAT);
    for (int i = 0; i < list.n; i++) {
        sa2_tensor t;
        if (strncmp(list.items[i].name, "adapter.", 8) == 0)
            sa2_tensor_map_expect(map, list.items[i].name, list.items[i].shape.ndim,
                                  list.items[i].shape.shape, &t, &err);
    }
    assert_string_equal(err.message,
                        "lm_head.weight: [7680, 64] expected, no such tensor\n"
                        "encoder.conv1.bias: [128] expected, [129] in shard-1.safetensors\n"
                        "adapter.linear2.bias: NaN or infinity at element 63 in "
                        "shard-2.safetensors");
    sa2_tensor_map_destroy(map);
    sa2_tensor_list_destroy(&list);
    test_folder_remove(folder);
}

static void cut_missing_and_doubled_shards_are_one_report(void **state)
{
    (void)state;
    char folder[256], path[512], other[512];
    sa2_preset preset = small_preset();
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    write_checkpoint(folder, &preset, 1000000);
    /* 2 is cut by a byte, 3 is gone, and 1 is in the place of 4. */
    snprintf(path, sizeof path, "%s/model-00001-of-00005.safetensors", folder);
    snprintf(other, sizeof other, "%s/model-00004-of-00005.safetensors", folder);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(link(path, other), 0);
    snprintf(path, sizeof path, "%s/model-00003-of-00005.safetensors", folder);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/model-00002-of-00005.safetensors", folder);
    size_t n;
    char *bytes = test_read_file(path, &n);
    test_write_file(path, bytes, n - 1);
    free(bytes);

    assert_int_equal(sa2_safetensors_open(&map, folder, &err), SA2_ERR_FORMAT);
    assert_null(map);
    assert_non_null(strstr(err.message, "model-00002-of-00005.safetensors has"));
    assert_non_null(strstr(err.message, "(cut short?)"));
    assert_non_null(strstr(err.message, "model-00003-of-00005.safetensors: No such file"));
    assert_non_null(strstr(err.message, "model.embed_tokens.weight: in "
                                        "model-00001-of-00005.safetensors and again in "
                                        "model-00004-of-00005.safetensors"));
    test_folder_remove(folder);
}

/* Overwrites `from` in the header of a shard with `to`, of the same length. */
static void edit_shard(const char *path, const char *from, const char *to)
{
    size_t n;
    char *bytes = test_read_file(path, &n);
    char *found = memmem(bytes, n, from, strlen(from));
    assert_non_null(found);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(found, to, strlen(to));
    test_write_file(path, bytes, n);
    free(bytes);
}

static void all_that_is_wrong_with_a_folder_is_one_report(void **state)
{
    (void)state;
    char folder[256], path[512];
    static const unsigned char nan[2] = {0xc0, 0x7f};
    sa2_preset preset = small_preset();
    sa2_model_files files;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    write_checkpoint(folder, &preset, 1000000);
    /* 1: a shape turned round, a name that 2 has; 2: cut by a byte; 3: gone; 4: NaN at its end. */
    snprintf(path, sizeof path, "%s/model-00001-of-00005.safetensors", folder);
    edit_shard(path, "[7680,64]", "[64,7680]");
    edit_shard(path, "model.layers.0.self_attn.q_proj.weight",
               "model.layers.0.self_attn.o_proj.weight");
    snprintf(path, sizeof path, "%s/model-00002-of-00005.safetensors", folder);
    size_t n;
    char *bytes = test_read_file(path, &n);
    test_write_file(path, bytes, n - 1);
    free(bytes);
    snprintf(path, sizeof path, "%s/model-00003-of-00005.safetensors", folder);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/model-00004-of-00005.safetensors", folder);
    overwrite(path, 2, nan, sizeof nan);
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    test_write_file(path, "{", 1);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(sa2_model_files_open(&files, folder, &err), SA2_ERR_FORMAT);
    static const char *const lines[] = {
        "model.layers.0.self_attn.o_proj.weight: in model-00001-of-00005.safetensors and again in "
        "model-00002-of-00005.safetensors",
        "model.norm.weight: ends at byte 107264 of the data, model-00002-of-00005.safetensors has "
        "107263 (cut short?)",
        "model-00003-of-00005.safetensors: No such file or directory",
        "model.embed_tokens.weight: [7680, 64] expected, [64, 7680] in "
        "model-00001-of-00005.safetensors",
        "encoder.blocks.1.attn_ln.bias: NaN or infinity at element 127 in "
        "model-00004-of-00005.safetensors",
        "vocab.json: line 1:",
    };
    const char *at = err.message;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        at = strstr(at, lines[i]);
        if (at == NULL)
            fail_msg("\"%s\" expected next in\n%s", lines[i], err.message);
    }
    assert_null(files.map);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tiny_checkpoint_is_read_back_bit_for_bit),
        cmocka_unit_test(a_checkpoint_has_every_file_of_a_release),
        cmocka_unit_test(its_token2wav_is_read_back_bit_for_bit),
        cmocka_unit_test(its_tokenizer_files_are_the_golden_ones_byte_for_byte),
        cmocka_unit_test(ids_of_mini_are_those_of_the_release),
        cmocka_unit_test(shards_are_cut_before_they_grow_too_large),
        cmocka_unit_test(another_tokenizer_is_copied_if_its_ids_fit),
        cmocka_unit_test(progress_rises_to_the_bytes_of_all_values),
        cmocka_unit_test(a_folder_in_use_is_left_alone),
        cmocka_unit_test(a_full_disk_is_reported_and_nothing_is_left),
        cmocka_unit_test(missing_misshaped_and_nan_tensors_are_one_report),
        cmocka_unit_test(cut_missing_and_doubled_shards_are_one_report),
        cmocka_unit_test(all_that_is_wrong_with_a_folder_is_one_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
