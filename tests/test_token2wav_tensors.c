/* The tensors of token2wav/: counts, totals and shapes of the release, dimensions found again in a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "loader/token2wav_tensors.h"
#include "loader/token2wav_writer.h"

/* A map of the tensors of one file; their values are never made. */
static sa2_tensor_map *map_of(const char *preset_name, sa2_token2wav_file file)
{
    sa2_preset preset;
    sa2_tensor_map *map = NULL;
    assert_int_equal(sa2_preset_find(&preset, preset_name, NULL), SA2_OK);
    assert_int_equal(sa2_token2wav_synthetic_map(&map, file, &preset, 0, NULL), SA2_OK);
    return map;
}

static void expect_totals(sa2_tensor_map *map, const char *prefix, int n, int64_t values)
{
    int n_found = 0;
    int64_t values_found = 0;
    for (int i = 0; i < sa2_tensor_map_count(map); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(map, i);
        if (strncmp(entry->name, prefix, strlen(prefix)) != 0)
            continue;
        assert_int_equal(entry->tensor.dtype, SA2_F32);
        n_found++;
        values_found += sa2_tensor_count(&entry->tensor);
    }
    if (n_found != n || values_found != values)
        fail_msg("%s*: %d tensors of %lld values, %d of %lld expected", prefix, n_found,
                 (long long)values_found, n, (long long)values);
}

static void mini_has_as_many_tensors_and_values_as_the_release(void **state)
{
    (void)state;
    static const struct {
        sa2_token2wav_file file;
        const char *prefix;
        int n;
        int64_t values;
    } cases[] = {
        {SA2_FLOW_FILE, "", 605, 155802352},
        {SA2_FLOW_FILE, "encoder.encoders.5.", 19, 3415552},
        {SA2_FLOW_FILE, "encoder.up_encoders.3.", 19, 3415552},
        {SA2_FLOW_FILE, "decoder.estimator.", 394, 114555472},
        {SA2_FLOW_FILE, "decoder.estimator.blocks.15.", 24, 7089408},
        {SA2_VOCODER_FILE, "", 328, 20821295},
        {SA2_VOCODER_FILE, "source_resblocks.", 72, 3719040},
        {SA2_VOCODER_FILE, "resblocks.", 216, 10862208},
        {SA2_SPEECH_TOKENIZER_FILE, "", 102, 123714568},
        {SA2_SPEECH_TOKENIZER_FILE, "encoder.blocks.5.", 16, 19715840},
        {SA2_SPEAKER_FILE, "", 617, 6907680},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sa2_tensor_map *map = map_of("mini", cases[i].file);
        expect_totals(map, cases[i].prefix, cases[i].n, cases[i].values);
        sa2_tensor_map_destroy(map);
    }
}

static void shapes_of_mini_are_those_of_the_release(void **state)
{
    (void)state;
    static const struct {
        sa2_token2wav_file file;
        const char *name;
        int ndim;
        int64_t shape[4];
    } cases[] = {
        {SA2_FLOW_FILE, "input_embedding.weight", 2, {6561, 512}},
        {SA2_FLOW_FILE, "spk_embed_affine_layer.weight", 2, {80, 192}},
        {SA2_FLOW_FILE, "encoder.pre_lookahead_layer.conv1.weight", 3, {512, 512, 4}},
        {SA2_FLOW_FILE, "encoder.pre_lookahead_layer.conv2.weight", 3, {512, 512, 3}},
        {SA2_FLOW_FILE, "encoder.up_layer.conv.weight", 3, {512, 512, 5}},
        {SA2_FLOW_FILE, "encoder.encoders.0.self_attn.pos_bias_u", 2, {8, 64}},
        {SA2_FLOW_FILE, "decoder.estimator.in_proj.weight", 2, {512, 320}},
        {SA2_FLOW_FILE, "decoder.estimator.blocks.0.attn.q_norm.weight", 1, {64}},
        {SA2_FLOW_FILE, "decoder.estimator.blocks.0.adaLN_modulation.1.weight", 2, {4608, 512}},
        {SA2_FLOW_FILE, "decoder.estimator.final_layer.linear.bias", 1, {80}},
        /* A transposed convolution is [in, out, kernel], and so its g goes with the inputs. */
        {SA2_VOCODER_FILE, "ups.0.parametrizations.weight.original0", 3, {512, 1, 1}},
        {SA2_VOCODER_FILE, "ups.1.parametrizations.weight.original1", 3, {256, 128, 11}},
        {SA2_VOCODER_FILE, "ups.2.bias", 1, {64}},
        {SA2_VOCODER_FILE, "source_downs.0.weight", 3, {256, 18, 30}},
        {SA2_VOCODER_FILE, "source_downs.1.weight", 3, {128, 18, 6}},
        {SA2_VOCODER_FILE, "source_downs.2.weight", 3, {64, 18, 1}},
        {SA2_VOCODER_FILE,
         "resblocks.5.convs1.2.parametrizations.weight.original1",
         3,
         {128, 128, 11}},
        {SA2_VOCODER_FILE, "resblocks.8.activations2.2.alpha", 1, {64}},
        {SA2_VOCODER_FILE, "conv_post.parametrizations.weight.original1", 3, {18, 64, 7}},
        {SA2_SPEECH_TOKENIZER_FILE, "encoder.conv1.weight", 3, {1280, 128, 3}},
        {SA2_SPEECH_TOKENIZER_FILE, "encoder.blocks.5.attn.fsmn_block.weight", 3, {1280, 1, 31}},
        {SA2_SPEECH_TOKENIZER_FILE, "encoder.blocks.5.mlp.2.weight", 2, {1280, 5120}},
        {SA2_SPEECH_TOKENIZER_FILE, "quantizer._codebook.project_down.weight", 2, {8, 1280}},
        {SA2_SPEAKER_FILE, "head.conv1.weight", 4, {32, 1, 3, 3}},
        {SA2_SPEAKER_FILE, "head.layer2.0.shortcut.0.weight", 4, {32, 32, 1, 1}},
        {SA2_SPEAKER_FILE, "xvector.tdnn.linear.weight", 3, {128, 320, 5}},
        {SA2_SPEAKER_FILE, "xvector.block1.tdnnd12.linear1.weight", 3, {128, 480, 1}},
        {SA2_SPEAKER_FILE, "xvector.block3.tdnnd16.linear1.weight", 3, {128, 992, 1}},
        {SA2_SPEAKER_FILE, "xvector.transit2.linear.weight", 3, {512, 1024, 1}},
        {SA2_SPEAKER_FILE, "xvector.transit3.linear.bias", 1, {512}},
        {SA2_SPEAKER_FILE, "xvector.dense.linear.weight", 3, {192, 1024, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sa2_tensor_map *map = map_of("mini", cases[i].file);
        const sa2_tensor_entry *entry = sa2_tensor_map_find(map, cases[i].name);
        if (entry == NULL)
            fail_msg("%s is missing", cases[i].name);
        assert_int_equal(entry->tensor.ndim, cases[i].ndim);
        for (int d = 0; d < cases[i].ndim; d++)
            if (entry->tensor.shape[d] != cases[i].shape[d])
                fail_msg("%s: dimension %d is %lld", cases[i].name, d,
                         (long long)entry->tensor.shape[d]);
        sa2_tensor_map_destroy(map);
    }
}

static void dimensions_are_found_again_in_the_shapes(void **state)
{
    (void)state;
    static const char *const presets[] = {"tiny", "mini"};
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        sa2_preset preset;
        sa2_vocoder_dims vocoder;
        sa2_speaker_dims speaker;
        sa2_speech_tokenizer_dims speech_tokenizer;
        assert_int_equal(sa2_preset_find(&preset, presets[i], NULL), SA2_OK);
        sa2_token2wav_dims want = sa2_token2wav_preset_dims(&preset.token2wav);
        sa2_tensor_map *map = map_of(presets[i], SA2_VOCODER_FILE);
        assert_int_equal(sa2_vocoder_dims_find(&vocoder, map, NULL), SA2_OK);
        assert_memory_equal(&vocoder, &want.vocoder, sizeof vocoder);
        sa2_tensor_map_destroy(map);
        map = map_of(presets[i], SA2_SPEAKER_FILE);
        assert_int_equal(sa2_speaker_dims_find(&speaker, map, NULL), SA2_OK);
        assert_memory_equal(&speaker, &want.speaker, sizeof speaker);
        sa2_tensor_map_destroy(map);
        map = map_of(presets[i], SA2_SPEECH_TOKENIZER_FILE);
        assert_int_equal(sa2_speech_tokenizer_dims_find(&speech_tokenizer, map, NULL), SA2_OK);
        assert_memory_equal(&speech_tokenizer, &want.speech_tokenizer, sizeof speech_tokenizer);
        sa2_tensor_map_destroy(map);
    }
}

/* ---- files that are not what they should be ---- */

static sa2_tensor_map *create_map(void)
{
    sa2_tensor_map *map = NULL;
    assert_int_equal(sa2_tensor_map_create(&map, NULL), SA2_OK);
    return map;
}

/* Shapes alone matter here, so no value is ever read. */
static void add(sa2_tensor_map *map, const char *name, int ndim, int64_t a, int64_t b, int64_t c)
{
    static float none[1];
    sa2_tensor tensor = {
        .data = none, .dtype = SA2_F32, .ndim = ndim, .shape = {a, b, c}, .stride = 0};
    tensor.stride = sa2_tensor_row_count(&tensor);
    assert_int_equal(sa2_tensor_map_add(map, name, "f", tensor, NULL), SA2_OK);
}

static void all_tensors_that_decide_and_are_missing_are_one_report(void **state)
{
    (void)state;
    sa2_vocoder_dims vocoder;
    sa2_speaker_dims speaker;
    sa2_speech_tokenizer_dims speech_tokenizer;
    sa2_error err = {0};
    sa2_tensor_map *map = create_map();
    add(map, "conv_pre.parametrizations.weight.original1", 2, 16, 80, 0);
    assert_int_equal(sa2_vocoder_dims_find(&vocoder, map, &err), SA2_ERR_FORMAT);
    assert_string_equal(
        err.message,
        "conv_pre.parametrizations.weight.original1 in f has 2 dimensions, 3 expected\n"
        "conv_pre.parametrizations.weight.original1 in f has 2 dimensions, 3 expected\n"
        "f0_predictor.condnet.0.parametrizations.weight.original1 is missing");
    err = (sa2_error){0};
    assert_int_equal(sa2_speaker_dims_find(&speaker, map, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "head.conv1.weight is missing"));
    assert_non_null(strstr(err.message, "xvector.dense.linear.weight is missing"));
    err = (sa2_error){0};
    assert_int_equal(sa2_speech_tokenizer_dims_find(&speech_tokenizer, map, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "encoder.conv1.weight is missing"));
    assert_non_null(strstr(err.message, "quantizer._codebook.project_down.weight is missing"));
    sa2_tensor_map_destroy(map);
}

static void dimensions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const char pre[] = "conv_pre.parametrizations.weight.original1";
    static const char f0[] = "f0_predictor.condnet.0.parametrizations.weight.original1";
    sa2_vocoder_dims vocoder;
    sa2_error err = {0};
    sa2_tensor_map *map = create_map();
    add(map, pre, 3, (int64_t)1 << 40, 80, 7);
    add(map, f0, 3, 64, 80, 3);
    assert_int_equal(sa2_vocoder_dims_find(&vocoder, map, &err), SA2_ERR_LIMIT);
    assert_string_equal(err.message, "conv_pre.parametrizations.weight.original1 in f: dimension 0 "
                                     "is 1099511627776, 1 to 262144 expected");
    sa2_tensor_map_destroy(map);

    map = create_map();
    err = (sa2_error){0};
    add(map, pre, 3, 20, 80, 7);
    add(map, f0, 3, 64, 80, 3);
    assert_int_equal(sa2_vocoder_dims_find(&vocoder, map, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "conv_pre.parametrizations.weight.original1: 20 channels "
                                     "cannot be halved 3 times");
    sa2_tensor_map_destroy(map);
}

static void a_speech_tokenizer_of_another_kind_is_refused(void **state)
{
    (void)state;
    static const struct {
        int64_t width, memory;
        const char *message;
    } cases[] = {
        {100, 31, "encoder.conv1.weight: width 100 is no multiple of heads of 64"},
        {128, 30, "encoder.blocks.0.attn.fsmn_block.weight: kernel 30, an odd one expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sa2_speech_tokenizer_dims dims;
        sa2_error err = {0};
        sa2_tensor_map *map = create_map();
        add(map, "encoder.conv1.weight", 3, cases[i].width, 128, 3);
        add(map, "encoder.blocks.0.mlp.0.weight", 2, 512, cases[i].width, 0);
        add(map, "encoder.blocks.0.attn.query.weight", 2, cases[i].width, cases[i].width, 0);
        add(map, "encoder.blocks.0.attn.fsmn_block.weight", 3, cases[i].width, 1, cases[i].memory);
        add(map, "quantizer._codebook.project_down.weight", 2, 8, cases[i].width, 0);
        assert_int_equal(sa2_speech_tokenizer_dims_find(&dims, map, &err), SA2_ERR_FORMAT);
        assert_string_equal(err.message, cases[i].message);
        sa2_tensor_map_destroy(map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mini_has_as_many_tensors_and_values_as_the_release),
        cmocka_unit_test(shapes_of_mini_are_those_of_the_release),
        cmocka_unit_test(dimensions_are_found_again_in_the_shapes),
        cmocka_unit_test(all_tensors_that_decide_and_are_missing_are_one_report),
        cmocka_unit_test(dimensions_that_cannot_be_are_refused),
        cmocka_unit_test(a_speech_tokenizer_of_another_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
