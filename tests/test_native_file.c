/* A native file is the folder that it was made of: the same weights, the same words, the same sound. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader/checkpoint_writer.h"
#include "loader/pack.h"
#include "loader/safetensors.h"
#include "runtime/native_file.h"
#include "runtime/pack_map.h"
#include "runtime/token2wav/token2wav.h"
#include "runtime/token2wav/token2wav_files.h"
#include "tests/support/answers.h"
#include "tests/support/small_model.h"
#include "tests/support/small_speech.h"
#include "tests/support/test_files.h"

enum { PATH = 512, LINE = 160 };

static const sa2_native_options plain = {.n_threads = 2};

/* A release folder and the native file of it. */
typedef struct world {
    char root[256], folder[PATH], token2wav[PATH], native[PATH];
    sa2_backend *backend;
} world;

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    sa2_preset preset = test_small_preset();
    sa2_error err = {0};
    test_folder_create(w->root, sizeof w->root);
    snprintf(w->folder, sizeof w->folder, "%s/model", w->root);
    snprintf(w->token2wav, sizeof w->token2wav, "%s/model/token2wav", w->root);
    snprintf(w->native, sizeof w->native, "%s/model.sa2", w->root);
    if (sa2_backend_open(&w->backend, &(sa2_backend_options){.n_threads = 2}, &err) != SA2_OK ||
        sa2_checkpoint_write(w->folder, &preset,
                             &(sa2_checkpoint_options){.shard_bytes = 1 << 20, .n_threads = 2},
                             &err) != SA2_OK ||
        sa2_native_write(w->folder, w->native, w->backend, &plain, &err) != SA2_OK)
        fail_msg("%s", err.message);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sa2_backend_close(w->backend);
    test_folder_remove(w->root);
    free(w);
    return 0;
}

/* ---- use ---- */

static void weights_are_used_where_they_lie(void **state)
{
    world *w = *state;
    sa2_model model, copied;
    sa2_error err = {0};
    if (sa2_model_open(&model, w->backend, w->native, NULL, &err) != SA2_OK ||
        sa2_model_open(&copied, w->backend, w->folder, NULL, &err) != SA2_OK)
        fail_msg("%s", err.message);
    const sa2_pack_block *head = sa2_pack_find(model.pack, "model/lm_head.weight");
    const sa2_pack_block *qkv = sa2_pack_find(
        model.pack,
        "model/model.layers.1.self_attn.q_proj+self_attn.k_proj+self_attn.v_proj.weight");
    assert_ptr_equal(model.decoder.head.data, head->data);
    assert_ptr_equal(model.decoder.layers[1].qkv.data, qkv->data);
    assert_memory_equal(model.decoder.layers[1].gate_up.data, copied.decoder.layers[1].gate_up.data,
                        sa2_pack_find(model.pack, "model/model.layers.1.mlp.gate_proj+mlp.up_proj"
                                                  ".weight")
                            ->bytes);
    assert_null(copied.pack);
    assert_true(model.arena.bytes < 8192); /* the arrays of layers */
    sa2_model_close(&model);
    sa2_model_close(&copied);
}

static void ask(const char *model, sa2_quant quant, test_answer *answer)
{
    static float samples[12000];
    sa2_engine *engine = NULL;
    sa2_error err = {0};
    const sa2_engine_options options = {
        .n_threads = 2, .quant = {quant, quant}, .max_num_seqs = 2, .kv_cache_bytes = 16 << 20};
    for (int i = 0; i < 12000; i++)
        samples[i] = (float)((i * i / 7) % 201 - 100) / 150.0f;
    const sa2_sound sound = {samples, 12000, 16000};
    const sa2_chat_item items[] = {{.kind = SA2_CHAT_AUDIO},
                                   {.kind = SA2_CHAT_TEXT, .text = "why?", .n_bytes = 4}};
    const sa2_chat_message message = {
        .role = "user", .content = SA2_CONTENT_LIST, .items = items, .n_items = 2};
    const sa2_chat chat = {.messages = &message, .n_messages = 1};
    if (sa2_engine_create(&engine, model, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_request request = sa2_request_default();
    request.chat = &chat;
    request.sounds = &sound;
    request.n_sounds = 1;
    request.sampling.temperature = 0.0f;
    request.sampling.n_logprobs = 0;
    request.max_tokens = 24;
    request.ignore_eos = true;
    test_answer_ask(engine, &request, answer);
    sa2_engine_destroy(engine);
}

static void an_engine_says_the_same(void **state)
{
    world *w = *state;
    test_answer *answers = calloc(2, sizeof *answers);
    assert_non_null(answers);
    ask(w->folder, SA2_QUANT_NONE, &answers[0]);
    ask(w->native, SA2_QUANT_NONE, &answers[1]);
    assert_int_equal(answers[0].choices[0].n_tokens, 24);
    assert_same_answer("folder and native file", &answers[0], &answers[1]);
    test_answer_free(&answers[0]);
    test_answer_free(&answers[1]);
    free(answers);
}

/* ---- weights in fewer bits ---- */

/* As it is loaded from the folder, made of the plain native file, and as its own native file has it. */
static void a_rounded_model_is_the_same_from_everywhere(void **state)
{
    world *w = *state;
    char rounded[PATH];
    sa2_error err = {0};
    test_answer *answers = calloc(5, sizeof *answers);
    assert_non_null(answers);
    snprintf(rounded, sizeof rounded, "%s/rounded.sa2", w->root);
    for (int q = SA2_QUANT_NONE + 1; q < SA2_QUANTS; q++) {
        sa2_quant quant = (sa2_quant)q;
        const sa2_native_options options = {.n_threads = 2, .quant = {quant, quant}};
        if (sa2_native_write(w->folder, rounded, w->backend, &options, &err) != SA2_OK)
            fail_msg("%s", err.message);
        ask(w->folder, SA2_QUANT_NONE, &answers[0]);
        ask(w->folder, quant, &answers[1]);
        ask(w->native, quant, &answers[2]);
        ask(rounded, SA2_QUANT_NONE, &answers[3]);
        ask(rounded, quant, &answers[4]);
        assert_int_equal(answers[1].choices[0].n_tokens, 24);
        for (int i = 2; i < 5; i++)
            assert_same_answer(sa2_quant_name(quant), &answers[1], &answers[i]);
        /* and not by leaving it as it was */
        assert_true(answers[0].choices[0].tokens[0].logprob !=
                    answers[1].choices[0].tokens[0].logprob);
        for (int i = 0; i < 5; i++)
            test_answer_free(&answers[i]);
        unlink(rounded);
    }
    free(answers);
}

static void weights_in_8_bits_take_half_the_room(void **state)
{
    world *w = *state;
    char rounded[PATH];
    sa2_model model;
    sa2_error err = {0};
    const sa2_native_options options = {.n_threads = 2, .quant = {.layers = SA2_QUANT_INT8}};
    snprintf(rounded, sizeof rounded, "%s/rounded.sa2", w->root);
    if (sa2_native_write(w->folder, rounded, w->backend, &options, &err) != SA2_OK ||
        sa2_model_open(&model, w->backend, rounded, NULL, &err) != SA2_OK)
        fail_msg("%s", err.message);
    const sa2_decoder_layer *l = &model.decoder.layers[0];
    assert_int_equal(l->qkv.dtype, SA2_I8);
    assert_int_equal(l->down.dtype, SA2_I8);
    assert_int_equal(model.decoder.head.dtype, SA2_BF16); /* it was left out */
    assert_int_equal(model.encoder.blocks[0].up.dtype, SA2_BF16);
    const sa2_pack_block *down =
        sa2_pack_find(model.pack, "model/model.layers.0.mlp.down_proj.weight");
    assert_ptr_equal(l->down.data, down->data);
    assert_int_equal(down->bytes, l->down.rows * l->down.cols + 4 * l->down.rows);
    sa2_model_close(&model);
    unlink(rounded);
}

static void keep_first_line(void *context, const char *line)
{
    char *first = context;
    if (first[0] == '\0')
        snprintf(first, LINE, "%s", line);
}

/* As large as they are when a folder is rounded on loading; where they lie differs, and so padding does. */
static void a_plan_counts_weights_as_the_file_has_them(void **state)
{
    world *w = *state;
    char rounded[PATH], told[LINE] = "", expected[LINE];
    sa2_model folder, native;
    sa2_engine *engine;
    sa2_error err = {0};
    const sa2_native_options options = {.n_threads = 2, .quant = {.layers = SA2_QUANT_INT8}};
    const sa2_model_options loading = {.quant = {.layers = SA2_QUANT_INT8}};
    const sa2_engine_options planned = {.log = keep_first_line, .context = told};
    snprintf(rounded, sizeof rounded, "%s/rounded.sa2", w->root);
    if (sa2_native_write(w->folder, rounded, w->backend, &options, &err) != SA2_OK ||
        sa2_model_open(&folder, w->backend, w->folder, &loading, &err) != SA2_OK ||
        sa2_model_open(&native, w->backend, rounded, NULL, &err) != SA2_OK ||
        sa2_engine_create(&engine, rounded, &planned, &err) != SA2_OK)
        fail_msg("%s", err.message);
    double apart = fabs((double)folder.weight_bytes - (double)native.weight_bytes);
    assert_true(apart <= 64.0 * sa2_pack_n_blocks(native.pack));
    snprintf(expected, sizeof expected, "memory: %-15s %10.1f MB", "weights",
             (double)native.weight_bytes * 1e-6);
    assert_string_equal(told, expected);
    sa2_engine_destroy(engine);
    sa2_model_close(&folder);
    sa2_model_close(&native);
    unlink(rounded);
}

/* What was rounded comes back as the nearest values of the release's dtype, the rest bit by bit. */
static void a_rounded_file_unpacks_to_a_folder_that_loads(void **state)
{
    world *w = *state;
    char rounded[PATH], back[PATH];
    sa2_error err = {0};
    sa2_tensor_map *a = NULL, *b = NULL;
    const sa2_native_options options = {.n_threads = 2, .quant = {.layers = SA2_QUANT_INT8}};
    snprintf(rounded, sizeof rounded, "%s/rounded.sa2", w->root);
    snprintf(back, sizeof back, "%s/rounded", w->root);
    if (sa2_native_write(w->folder, rounded, w->backend, &options, &err) != SA2_OK ||
        sa2_native_unpack(rounded, back, &plain, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sa2_safetensors_open(&a, w->folder, NULL), SA2_OK);
    assert_int_equal(sa2_safetensors_open(&b, back, NULL), SA2_OK);
    assert_int_equal(sa2_tensor_map_count(a), sa2_tensor_map_count(b));
    for (int i = 0; i < sa2_tensor_map_count(a); i++) {
        const sa2_tensor_entry *want = sa2_tensor_map_entry(a, i);
        const sa2_tensor_entry *found = sa2_tensor_map_find(b, want->name);
        bool layer = strstr(want->name, "_proj.weight") != NULL;
        int64_t n = sa2_tensor_count(&want->tensor), cols = sa2_tensor_row_count(&want->tensor);
        uint16_t *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
        assert_int_equal(found->tensor.dtype, SA2_BF16);
        assert_int_equal(sa2_tensor_map_read(a, want, 0, n, x, NULL), SA2_OK);
        assert_int_equal(sa2_tensor_map_read(b, found, 0, n, y, NULL), SA2_OK);
        if (!layer && memcmp(x, y, (size_t)n * sizeof *x) != 0)
            fail_msg("%s came back changed", want->name);
        for (int64_t row = 0; layer && row < n; row += cols) {
            float most = 0.0f;
            for (int64_t c = 0; c < cols; c++)
                most = fmaxf(most, fabsf(sa2_bf16_to_f32(x[row + c])));
            for (int64_t c = 0; c < cols; c++) { /* half a step, and bf16's rounding */
                float off = fabsf(sa2_bf16_to_f32(x[row + c]) - sa2_bf16_to_f32(y[row + c]));
                assert_true(off <= most * (0.501f / 127.0f + 0x1p-8f));
            }
        }
        free(x);
        free(y);
    }
    sa2_tensor_map_destroy(a);
    sa2_tensor_map_destroy(b);
    test_folder_remove(back);
    unlink(rounded);
}

static float *speak(const world *w, const char *place, bool bf16, int n)
{
    sa2_token2wav t;
    sa2_error err = {0};
    sa2_voice voice = test_speech_voice(20, 1);
    int32_t *codes = malloc((size_t)n * sizeof *codes);
    const sa2_token2wav_options options = {.bf16 = bf16, .max_voice_seconds = 2, .max_seconds = 2};
    if (sa2_token2wav_open(&t, w->backend, place, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    float *samples = malloc((size_t)sa2_speech_samples(&t, n) * sizeof *samples);
    test_speech_codes(codes, n, 3);
    if (sa2_token2wav_whole(&t, &voice, codes, n, 7, NULL, samples, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_token2wav_close(&t);
    sa2_voice_destroy(&voice);
    free(codes);
    return samples;
}

/* In bf16 the flow's matrices are not those of the file: they are made of them. */
static void codes_sound_the_same(void **state)
{
    enum { N = 10, SAMPLES = 960 * N };
    world *w = *state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        float *a = speak(w, w->token2wav, bf16 == 1, N), *b = speak(w, w->native, bf16 == 1, N);
        assert_memory_equal(a, b, SAMPLES * sizeof *a);
        free(a);
        free(b);
    }
}

static void encode(const world *w, const char *place, sa2_voice *voice, uint64_t *identity)
{
    static float samples[32000];
    sa2_voice_encoder encoder;
    sa2_error err = {0};
    const sa2_voice_options options = {.mel_bins = 80, .frames_per_token = 2, .max_seconds = 3};
    for (int i = 0; i < 32000; i++)
        samples[i] = (float)((i * 37 + i * i / 11) % 301 - 150) / 300.0f;
    const sa2_audio_source source = {.path = "samples",
                                     .bytes = samples,
                                     .n_bytes = sizeof samples,
                                     .pcm = SA2_PCM_F32LE,
                                     .pcm_rate = 16000,
                                     .pcm_channels = 1};
    if (sa2_voice_encoder_open(&encoder, w->backend, place, &options, &err) != SA2_OK ||
        sa2_voice_encode(&encoder, &source, voice, &err) != SA2_OK)
        fail_msg("%s", err.message);
    *identity = encoder.identity;
    sa2_voice_encoder_close(&encoder);
}

static void a_voice_is_the_same(void **state)
{
    world *w = *state;
    sa2_voice a, b;
    uint64_t a_identity, b_identity;
    encode(w, w->token2wav, &a, &a_identity);
    encode(w, w->native, &b, &b_identity);
    assert_int_equal(a.n_tokens, b.n_tokens);
    assert_memory_equal(a.tokens, b.tokens, (size_t)a.n_tokens * sizeof *a.tokens);
    assert_memory_equal(a.speaker, b.speaker, (size_t)a.n_speaker * sizeof *a.speaker);
    assert_memory_equal(a.mel, b.mel, (size_t)(a.n_frames * a.mel_bins) * sizeof *a.mel);
    assert_int_equal(a_identity, b_identity);
    sa2_voice_destroy(&a);
    sa2_voice_destroy(&b);
}

/* ---- and back ---- */

static void expect_same_tensors(const sa2_tensor_map *a, const sa2_tensor_map *b)
{
    assert_int_equal(sa2_tensor_map_count(a), sa2_tensor_map_count(b));
    for (int i = 0; i < sa2_tensor_map_count(a); i++) {
        const sa2_tensor_entry *want = sa2_tensor_map_entry(a, i);
        const sa2_tensor_entry *found = sa2_tensor_map_find(b, want->name);
        assert_non_null(found);
        assert_true(sa2_tensor_same_shape(&want->tensor, &found->tensor));
        assert_int_equal(want->tensor.dtype, found->tensor.dtype);
        size_t bytes = sa2_tensor_bytes(&want->tensor);
        int64_t n = sa2_tensor_count(&want->tensor);
        void *x = malloc(bytes), *y = malloc(bytes);
        assert_int_equal(sa2_tensor_map_read(a, want, 0, n, x, NULL), SA2_OK);
        assert_int_equal(sa2_tensor_map_read(b, found, 0, n, y, NULL), SA2_OK);
        if (memcmp(x, y, bytes) != 0)
            fail_msg("%s came back changed", want->name);
        free(x);
        free(y);
    }
}

static void every_tensor_comes_back_bit_by_bit(void **state)
{
    world *w = *state;
    char back[PATH], token2wav[PATH + 16];
    sa2_error err = {0};
    snprintf(back, sizeof back, "%s/back", w->root);
    snprintf(token2wav, sizeof token2wav, "%s/token2wav", back);
    if (sa2_native_unpack(w->native, back, &plain, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_tensor_map *a = NULL, *b = NULL;
    assert_int_equal(sa2_safetensors_open(&a, w->folder, NULL), SA2_OK);
    assert_int_equal(sa2_safetensors_open(&b, back, NULL), SA2_OK);
    expect_same_tensors(a, b);
    sa2_tensor_map_destroy(a);
    sa2_tensor_map_destroy(b);
    for (int i = 0; i < SA2_TOKEN2WAV_FILES; i++) {
        sa2_token2wav_file file = (sa2_token2wav_file)i;
        assert_int_equal(sa2_token2wav_map_open(&a, w->token2wav, file, NULL), SA2_OK);
        assert_int_equal(sa2_token2wav_map_open(&b, token2wav, file, NULL), SA2_OK);
        expect_same_tensors(a, b);
        sa2_tensor_map_destroy(a);
        sa2_tensor_map_destroy(b);
    }
    sa2_model model; /* it is a model folder again */
    if (sa2_model_open(&model, w->backend, back, NULL, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_model_close(&model);
    float *x = speak(w, w->native, false, 5), *y = speak(w, token2wav, false, 5);
    assert_memory_equal(x, y, 5 * 960 * sizeof *x);
    free(x);
    free(y);
    assert_int_equal(sa2_native_unpack(w->native, back, &plain, &err), SA2_ERR_ARG);
    test_folder_remove(back);
}

/* ---- damage, and giving up ---- */

static int entries_of(const char *folder)
{
    int n = 0;
    DIR *entries = opendir(folder);
    assert_non_null(entries);
    while (readdir(entries) != NULL)
        n++;
    closedir(entries);
    return n;
}

/* A copy of the native file with one bit of a block changed. */
static void write_damaged(const world *w, const char *block, const char *path)
{
    size_t n;
    sa2_pack *pack = NULL;
    char *bytes = test_read_file(w->native, &n);
    assert_int_equal(sa2_pack_open(&pack, w->native, NULL), SA2_OK);
    size_t offset = (size_t)(sa2_pack_find(pack, block)->data - sa2_pack_get_block(pack, 0)->data);
    sa2_pack_close(pack);
    bytes[4096 + offset + 1] ^= 16;
    test_write_file(path, bytes, n);
    free(bytes);
}

static void damage_is_found_before_a_weight_is_used(void **state)
{
    static const struct {
        const char *block;
        bool model; /* noticed by who opens the model; else by who opens token2wav */
    } cases[] = {
        {"model/lm_head.weight", true},     {"model/encoder.conv1.bias", true},
        {"file/tokenizer.json", true},      {"flow/decoder.estimator.in_proj.weight", false},
        {"vocoder/conv_pre.weight", false},
    };
    world *w = *state;
    char path[PATH];
    snprintf(path, sizeof path, "%s/damaged.sa2", w->root);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sa2_model model;
        sa2_token2wav t;
        sa2_error err = {0};
        write_damaged(w, cases[i].block, path);
        sa2_status st = cases[i].model ? sa2_model_open(&model, w->backend, path, NULL, &err)
                                       : sa2_token2wav_open(&t, w->backend, path, NULL, &err);
        assert_int_equal(st, SA2_ERR_FORMAT);
        if (strstr(err.message, cases[i].block) == NULL || strstr(err.message, "changed") == NULL)
            fail_msg("%s expected, found: %s", cases[i].block, err.message);
        err = (sa2_error){0}; /* who needs the other part does not mind */
        st = cases[i].model ? sa2_token2wav_open(&t, w->backend, path, NULL, &err)
                            : sa2_model_open(&model, w->backend, path, NULL, &err);
        if (st != SA2_OK)
            fail_msg("%s", err.message);
        cases[i].model ? sa2_token2wav_close(&t) : sa2_model_close(&model);
    }
    unlink(path);
}

static void a_weight_that_is_no_number_stops_the_conversion(void **state)
{
    world *w = *state;
    char shard[PATH + 64], out[PATH];
    size_t n;
    sa2_error err = {0};
    sa2_tensor_map *map = NULL;
    assert_int_equal(sa2_safetensors_open(&map, w->folder, NULL), SA2_OK);
    snprintf(shard, sizeof shard, "%s/%s", w->folder,
             sa2_tensor_map_find(map, "model.norm.weight")->origin);
    sa2_tensor_map_destroy(map);
    snprintf(out, sizeof out, "%s/nan.sa2", w->root);
    char *bytes = test_read_file(shard, &n);
    char *header_end = bytes + 8 + *(uint64_t *)(void *)bytes;
    char *spoilt = malloc(n);
    memcpy(spoilt, bytes, n);
    memset(spoilt + (header_end - bytes), 0xff, n - (size_t)(header_end - bytes)); /* all NaN */
    test_write_file(shard, spoilt, n);
    int before = entries_of(w->root);
    sa2_status st = sa2_native_write(w->folder, out, w->backend, &plain, &err);
    test_write_file(shard, bytes, n);
    free(spoilt);
    free(bytes);
    assert_int_equal(st, SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "model.norm.weight: NaN or infinity"));
    assert_int_equal(entries_of(w->root), before);
}

/* Goes on so many times. */
static bool count_down(void *context, int64_t done, int64_t total)
{
    int *left = context;
    assert_true(done >= 0 && done <= total);
    return --*left >= 0;
}

static void who_gives_up_leaves_nothing(void **state)
{
    world *w = *state;
    char out[PATH], back[PATH];
    snprintf(out, sizeof out, "%s/given_up.sa2", w->root);
    snprintf(back, sizeof back, "%s/given_up", w->root);
    int before = entries_of(w->root), finished = 0;
    for (int n = 0; finished < 2; n = n * 2 + 1) {
        int left = n, left_back = n;
        sa2_error err = {0};
        const sa2_native_options options = {.go_on = count_down, .context = &left};
        const sa2_native_options options_back = {.go_on = count_down, .context = &left_back};
        sa2_status st = sa2_native_write(w->folder, out, w->backend, &options, &err);
        sa2_status st_back = sa2_native_unpack(w->native, back, &options_back, &err);
        assert_true(st == SA2_OK || st == SA2_ERR_CANCELLED);
        assert_true(st_back == SA2_OK || st_back == SA2_ERR_CANCELLED);
        finished = (st == SA2_OK) + (st_back == SA2_OK);
        if (st == SA2_OK)
            unlink(out);
        if (st_back == SA2_OK)
            test_folder_remove(back);
        assert_int_equal(entries_of(w->root), before);
    }
}

static void what_cannot_be_made_or_opened_says_why(void **state)
{
    world *w = *state;
    char out[PATH];
    sa2_error err = {0};
    sa2_model model;
    snprintf(out, sizeof out, "%s/x.sa2", w->root);
    assert_int_equal(sa2_native_write(w->native, out, w->backend, &plain, &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "a release folder expected, a native file found"));
    assert_int_equal(sa2_native_write(w->folder, "/nowhere/x.sa2", w->backend, &plain, &err),
                     SA2_ERR_IO);
    assert_non_null(strstr(err.message, "/nowhere/x.sa2"));
    test_write_file(out, "text", 4);
    assert_int_equal(sa2_model_open(&model, w->backend, out, NULL, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no native file"));
    unlink(out);
}

static void a_file_of_a_folder_that_cannot_speak_says_so(void **state)
{
    world *w = *state;
    char away[PATH + 16], out[PATH];
    sa2_token2wav t;
    sa2_error err = {0};
    snprintf(away, sizeof away, "%s.away", w->token2wav);
    snprintf(out, sizeof out, "%s/silent.sa2", w->root);
    assert_int_equal(rename(w->token2wav, away), 0);
    sa2_status st = sa2_native_write(w->folder, out, w->backend, &plain, &err);
    assert_int_equal(rename(away, w->token2wav), 0);
    if (st != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sa2_token2wav_open(&t, w->backend, out, NULL, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "made of a folder without token2wav/"));
    unlink(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_used_where_they_lie),
        cmocka_unit_test(an_engine_says_the_same),
        cmocka_unit_test(a_rounded_model_is_the_same_from_everywhere),
        cmocka_unit_test(weights_in_8_bits_take_half_the_room),
        cmocka_unit_test(a_plan_counts_weights_as_the_file_has_them),
        cmocka_unit_test(a_rounded_file_unpacks_to_a_folder_that_loads),
        cmocka_unit_test(codes_sound_the_same),
        cmocka_unit_test(a_voice_is_the_same),
        cmocka_unit_test(every_tensor_comes_back_bit_by_bit),
        cmocka_unit_test(damage_is_found_before_a_weight_is_used),
        cmocka_unit_test(a_weight_that_is_no_number_stops_the_conversion),
        cmocka_unit_test(who_gives_up_leaves_nothing),
        cmocka_unit_test(what_cannot_be_made_or_opened_says_why),
        cmocka_unit_test(a_file_of_a_folder_that_cannot_speak_says_so),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
