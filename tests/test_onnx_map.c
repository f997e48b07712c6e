/* The two ONNX models as maps: names by node and by number, transposed products, strangers, our own files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/onnx_names.h"
#include "loader/onnx_writer.h"
#include "loader/token2wav_tensors.h"
#include "loader/token2wav_writer.h"
#include "tests/support/synthetic_values.h"
#include "tests/support/test_files.h"

static const char speech_path[] = "golden/tiny_checkpoint/token2wav/speech_tokenizer_v2_25hz.onnx";
static const char speaker_path[] = "golden/tiny_checkpoint/token2wav/campplus.onnx";

/* Dimensions from the shapes, then names, shapes and values against the rule. */
static void expect_tiny(sa2_tensor_map *map, sa2_onnx_model model)
{
    sa2_tensor_list list = {0};
    if (model == SA2_ONNX_SPEAKER) {
        sa2_speaker_dims dims;
        assert_int_equal(sa2_speaker_dims_find(&dims, map, NULL), SA2_OK);
        assert_int_equal(sa2_speaker_tensors(&list, &dims, NULL), SA2_OK);
        assert_int_equal(list.n, 617);
        test_expect_synthetic(map, &list, "campplus", 0);
    } else {
        sa2_speech_tokenizer_dims dims;
        assert_int_equal(sa2_speech_tokenizer_dims_find(&dims, map, NULL), SA2_OK);
        assert_int_equal(sa2_speech_tokenizer_tensors(&list, &dims, NULL), SA2_OK);
        assert_int_equal(list.n, 38);
        test_expect_synthetic(map, &list, "speech_tokenizer", 0);
    }
    sa2_tensor_list_destroy(&list);
}

static void files_of_an_exporter_hold_the_synthetic_values(void **state)
{
    (void)state;
    for (int model = 0; model < 2; model++) {
        char path[512];
        sa2_tensor_map *map = NULL;
        sa2_error err = {0};
        test_data(path, sizeof path, model == SA2_ONNX_SPEAKER ? speaker_path : speech_path);
        sa2_onnx_map_open(&map, (sa2_onnx_model)model, path, &err);
        assert_string_equal(err.message, "");
        expect_tiny(map, (sa2_onnx_model)model);
        sa2_tensor_map_destroy(map);
    }
}

/* ---- names ---- */

static void names_of_tensors_are_those_of_the_release(void **state)
{
    (void)state;
    static const int layers[] = {12, 24, 16};
    static const struct {
        sa2_onnx_model model;
        const char *name, *node, *initializer;
        int input;
        bool transposed;
    } cases[] = {
        {SA2_ONNX_SPEECH_TOKENIZER, "encoder.conv2.bias", "/conv2/Conv", "onnx::Conv_2219", 2,
         false},
        {SA2_ONNX_SPEECH_TOKENIZER, "encoder.blocks.0.attn.query.weight",
         "/blocks.0/attn/query/MatMul", "onnx::MatMul_2228", 1, true},
        {SA2_ONNX_SPEECH_TOKENIZER, "encoder.blocks.5.attn.out.bias", "/blocks.5/attn/out/Add",
         "onnx::Add_2526", 0, false},
        {SA2_ONNX_SPEECH_TOKENIZER, "encoder.blocks.3.attn.fsmn_block.weight",
         "/blocks.3/attn/fsmn_block/Conv", "blocks.3.attn.fsmn_block.weight", 1, false},
        {SA2_ONNX_SPEECH_TOKENIZER, "encoder.blocks.1.mlp.2.weight", "/blocks.1/mlp/mlp.2/MatMul",
         "onnx::MatMul_2327", 1, true},
        {SA2_ONNX_SPEECH_TOKENIZER, "encoder.blocks.2.mlp_ln.bias",
         "/blocks.2/mlp_ln/LayerNormalization", "onnx::LayerNormalization_2373", 2, false},
        {SA2_ONNX_SPEECH_TOKENIZER, "quantizer._codebook.project_down.bias", "/project_down/Add",
         "quantizer.project_in.bias", 0, false},
        {SA2_ONNX_SPEAKER, "head.layer1.0.shortcut.0.bias",
         "/head/layer1/layer1.0/shortcut/shortcut.0/Conv", "onnx::Conv_4433", 2, false},
        {SA2_ONNX_SPEAKER, "head.conv2.weight", "/head/conv2/Conv", "onnx::Conv_4456", 1, false},
        {SA2_ONNX_SPEAKER, "xvector.tdnn.linear.bias", "/xvector/tdnn/linear/Conv",
         "onnx::Conv_4460", 2, false},
        {SA2_ONNX_SPEAKER, "xvector.block2.tdnnd1.linear1.weight",
         "/xvector/block2/tdnnd1/linear1/Conv", "onnx::Conv_4498", 1, false},
        {SA2_ONNX_SPEAKER, "xvector.block3.tdnnd16.linear1.bias",
         "/xvector/block3/tdnnd16/linear1/Conv", "onnx::Conv_4616", 2, false},
        {SA2_ONNX_SPEAKER, "xvector.transit3.linear.weight", "/xvector/transit3/linear/Conv",
         "onnx::Conv_4618", 1, false},
        {SA2_ONNX_SPEAKER, "xvector.transit2.linear.weight", "/xvector/transit2/linear/Conv",
         "xvector.transit2.linear.weight", 1, false},
        {SA2_ONNX_SPEAKER, "xvector.block1.tdnnd3.nonlinear1.batchnorm.running_var",
         "/xvector/block1/tdnnd3/nonlinear1/batchnorm/BatchNormalization",
         "xvector.block1.tdnnd3.nonlinear1.batchnorm.running_var", 4, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sa2_onnx_name name;
        assert_true(sa2_onnx_name_of(cases[i].model, cases[i].name, layers, &name));
        assert_string_equal(name.node, cases[i].node);
        assert_string_equal(name.initializer, cases[i].initializer);
        assert_int_equal(name.input, cases[i].input);
        assert_int_equal(name.transposed, cases[i].transposed);
    }
    static const char *const strangers[] = {"", "encoder.blocks.0.attn.key.bias",
                                            "encoder.blocks.0", "head", "xvector.x.alpha"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        sa2_onnx_name name;
        assert_false(sa2_onnx_name_of(SA2_ONNX_SPEECH_TOKENIZER, strangers[i], layers, &name));
        assert_false(sa2_onnx_name_of(SA2_ONNX_SPEAKER, strangers[i], layers, &name));
    }
}

/* ---- files that were exported another way ---- */

/* Where `wanted` is in bytes[0, n), or NULL. */
static char *find(char *bytes, size_t n, const char *wanted)
{
    size_t length = strlen(wanted);
    for (char *at = bytes; n - (size_t)(at - bytes) >= length; at++) {
        at = memchr(at, wanted[0], n - (size_t)(at - bytes) - length + 1);
        if (at == NULL || memcmp(at, wanted, length) == 0)
            return at;
    }
    return NULL;
}

/* Writes `after` over every `before` in the file, both of one length; how many there were. */
static int replace(char *bytes, size_t n, const char *before, const char *after)
{
    int count = 0;
    size_t length = strlen(before);
    assert_int_equal(strlen(after), length);
    for (char *at = bytes; (at = find(at, n - (size_t)(at - bytes), before)) != NULL;
         at += length, count++)
        memcpy(at, after, length);
    return count;
}

static void a_tensor_is_found_by_its_node_or_by_its_number(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        sa2_onnx_model model;
        const char *before, *after;
    } cases[] = {
        {speech_path, SA2_ONNX_SPEECH_TOKENIZER, "onnx::", "ours::"},         /* other numbers */
        {speech_path, SA2_ONNX_SPEECH_TOKENIZER, "/blocks.1/", "/locks__1/"}, /* other nodes */
        {speaker_path, SA2_ONNX_SPEAKER, "onnx::", "ours::"},
        {speaker_path, SA2_ONNX_SPEAKER, "/xvector/", "/yvector/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        size_t n;
        sa2_tensor_map *map = NULL;
        sa2_error err = {0};
        char *bytes = test_read_file(test_data(path, sizeof path, cases[i].path), &n);
        assert_true(replace(bytes, n, cases[i].before, cases[i].after) > 70);
        sa2_onnx_map_parse(&map, cases[i].model, bytes, n, "f", &err);
        assert_string_equal(err.message, "");
        expect_tiny(map, cases[i].model);
        sa2_tensor_map_destroy(map);
        free(bytes);
    }
}

/* The Add of a bias with the bias as input 1: the fields of the two inputs change places. */
static void a_sum_may_have_its_operands_in_either_order(void **state)
{
    (void)state;
    static const char name[] = "\x0a\x0e"
                               "onnx::Add_2227";
    char path[512], turned[128];
    size_t n;
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    char *bytes = test_read_file(test_data(path, sizeof path, speech_path), &n);
    char *bias = find(bytes, n, name);
    assert_non_null(bias);
    char *other = bias + sizeof name - 1;
    assert_int_equal(other[0], 0x0a); /* a second input, shorter than 128 */
    size_t other_bytes = 2 + (size_t)other[1];
    memcpy(turned, other, other_bytes);
    memcpy(turned + other_bytes, name, sizeof name - 1);
    memcpy(bias, turned, other_bytes + sizeof name - 1);
    assert_int_equal(replace(bytes, n, "onnx::Add_2227", "onnx::Add_____"), 2); /* no number */
    sa2_onnx_map_parse(&map, SA2_ONNX_SPEECH_TOKENIZER, bytes, n, "f", &err);
    assert_string_equal(err.message, "");
    expect_tiny(map, SA2_ONNX_SPEECH_TOKENIZER);
    sa2_tensor_map_destroy(map);
    free(bytes);
}

/* ---- files that lack something, or have more ---- */

static void all_tensors_that_nothing_leads_to_are_one_report(void **state)
{
    (void)state;
    char path[512];
    size_t n;
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    char *bytes = test_read_file(test_data(path, sizeof path, speech_path), &n);
    replace(bytes, n, "onnx::MatMul_2230", "onnx::MatMul_xxxx");
    replace(bytes, n, "/blocks.0/attn/key/MatMul", "/blocks.0/attn/yek/MatMul");
    replace(bytes, n, "quantizer.project_in.bias", "quantizer.project_on.bias");
    replace(bytes, n, "/project_down/Add", "/project_down/Ddd");
    assert_int_equal(sa2_onnx_map_parse(&map, SA2_ONNX_SPEECH_TOKENIZER, bytes, n, "f", &err),
                     SA2_ERR_FORMAT);
    assert_null(map);
    assert_string_equal(
        err.message,
        "f: encoder.blocks.0.attn.key.weight: neither node /blocks.0/attn/key/MatMul nor "
        "initializer onnx::MatMul_2230 leads to it\n"
        "f: quantizer._codebook.project_down.bias: neither node /project_down/Add nor initializer "
        "quantizer.project_in.bias leads to it");
    free(bytes);
}

/* Without a name for the queries of block 1 there is no block 1, and its tensors are strangers. */
static void initializers_that_no_name_leads_to_keep_their_own(void **state)
{
    (void)state;
    char path[512];
    size_t n;
    sa2_tensor_map *map = NULL;
    sa2_tensor_list list = {0};
    sa2_speech_tokenizer_dims dims;
    sa2_error err = {0};
    char *bytes = test_read_file(test_data(path, sizeof path, speech_path), &n);
    replace(bytes, n, "onnx::MatMul_2280", "onnx::MatMul_xxxx");
    replace(bytes, n, "/blocks.1/attn/query/MatMul", "/blocks.1/attn/yreuq/MatMul");
    sa2_onnx_map_parse(&map, SA2_ONNX_SPEECH_TOKENIZER, bytes, n, "f", &err);
    assert_string_equal(err.message, "");
    assert_int_equal(sa2_tensor_map_count(map), 38);
    assert_int_equal(sa2_speech_tokenizer_dims_find(&dims, map, &err), SA2_OK);
    assert_int_equal(dims.blocks, 1);
    assert_int_equal(sa2_speech_tokenizer_tensors(&list, &dims, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_check(map, &list, &err), SA2_ERR_FORMAT);
    assert_non_null(
        strstr(err.message, "onnx::MatMul_xxxx: [128, 128] in f, no such tensor expected"));
    sa2_tensor_list_destroy(&list);
    sa2_tensor_map_destroy(map);
    free(bytes);
}

static void another_model_is_refused(void **state)
{
    (void)state;
    char path[512];
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    test_data(path, sizeof path, speech_path);
    assert_int_equal(sa2_onnx_map_open(&map, SA2_ONNX_SPEAKER, path, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "head.conv1.weight: neither node /head/conv1/Conv nor "
                                        "initializer onnx::Conv_4423 leads to it"));
    assert_int_equal(sa2_onnx_map_open(&map, SA2_ONNX_SPEAKER, "/nowhere/campplus.onnx", &err),
                     SA2_ERR_IO);
    assert_string_equal(err.message, "/nowhere/campplus.onnx: No such file or directory");
}

/* ---- writing ---- */

/* A preset whose files are small and odd in every dimension that may be. */
static sa2_preset odd_preset(void)
{
    sa2_preset preset;
    assert_int_equal(sa2_preset_find(&preset, "tiny", NULL), SA2_OK);
    preset.token2wav.speech_width = 64;
    preset.token2wav.speech_ffn = 75;
    preset.token2wav.speech_blocks = 3;
    preset.token2wav.speaker_growth = 8;
    preset.token2wav.speaker_bottleneck = 5;
    preset.token2wav.speaker_initial = 32;
    preset.token2wav.speaker_gate = 3;
    return preset;
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    char folder[256], path[512];
    sa2_preset preset = odd_preset();
    sa2_token2wav_dims dims = sa2_token2wav_preset_dims(&preset.token2wav);
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/some.onnx", folder);
    for (int model = 0; model < 2; model++) {
        bool speaker = model == SA2_ONNX_SPEAKER;
        sa2_tensor_map *made = NULL, *again = NULL;
        sa2_tensor_list list = {0};
        sa2_error err = {0};
        sa2_token2wav_synthetic_map(&made, speaker ? SA2_SPEAKER_FILE : SA2_SPEECH_TOKENIZER_FILE,
                                    &preset, 9, &err);
        sa2_onnx_write(path, (sa2_onnx_model)model, made, (sa2_write_progress){0}, &err);
        sa2_onnx_map_open(&again, (sa2_onnx_model)model, path, &err);
        assert_string_equal(err.message, "");
        assert_int_equal(speaker
                             ? sa2_speaker_tensors(&list, &dims.speaker, NULL)
                             : sa2_speech_tokenizer_tensors(&list, &dims.speech_tokenizer, NULL),
                         SA2_OK);
        test_expect_synthetic(again, &list, speaker ? "campplus" : "speech_tokenizer", 9);
        sa2_tensor_list_destroy(&list);
        sa2_tensor_map_destroy(again);
        sa2_tensor_map_destroy(made);
    }
    test_folder_remove(folder);
}

static void a_tensor_that_the_model_does_not_have_is_not_written(void **state)
{
    (void)state;
    char folder[256], path[512];
    float values[1] = {1};
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/some.onnx", folder);
    assert_int_equal(sa2_tensor_map_create(&map, NULL), SA2_OK);
    sa2_tensor_map_add(map, "decoder.x", "f", sa2_tensor_1d(values, SA2_F32, 1), NULL);
    assert_int_equal(
        sa2_onnx_write(path, SA2_ONNX_SPEECH_TOKENIZER, map, (sa2_write_progress){0}, &err),
        SA2_ERR_ARG);
    assert_string_equal(err.message, "decoder.x: the model has no such tensor");
    assert_int_equal(remove(path), -1); /* nothing is left of it */
    snprintf(path, sizeof path, "%s/some.onnx.partial", folder);
    assert_int_equal(remove(path), -1);
    sa2_tensor_map_destroy(map);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_an_exporter_hold_the_synthetic_values),
        cmocka_unit_test(names_of_tensors_are_those_of_the_release),
        cmocka_unit_test(a_tensor_is_found_by_its_node_or_by_its_number),
        cmocka_unit_test(a_sum_may_have_its_operands_in_either_order),
        cmocka_unit_test(all_tensors_that_nothing_leads_to_are_one_report),
        cmocka_unit_test(initializers_that_no_name_leads_to_keep_their_own),
        cmocka_unit_test(another_model_is_refused),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_tensor_that_the_model_does_not_have_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
