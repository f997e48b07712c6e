/* Writes the seeds that are not text: write_corpus DIR, DIR being tests/fuzz/corpus. */
#include <errno.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/onnx_writer.h"
#include "loader/safetensors_writer.h"
#include "loader/synthetic.h"
#include "loader/token2wav_tensors.h"
#include "loader/torch_zip_writer.h"
#include "tests/support/native_bytes.h"
#include "tests/support/pickle_bytes.h"
#include "tests/support/zip_bytes.h"

enum { PATH = 1024 };

static void insist(int ok, const char *what, const sa2_error *err)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, err != NULL ? err->message : strerror(errno));
    exit(1);
}

static const char *place(char path[PATH], const char *corpus, const char *target, const char *name)
{
    snprintf(path, PATH, "%s/%s", corpus, target);
    insist(mkdir(path, 0777) == 0 || errno == EEXIST, path, NULL);
    snprintf(path, PATH, "%s/%s/%s", corpus, target, name);
    return path;
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    insist(file != NULL && fwrite(bytes, 1, n, file) == n && fclose(file) == 0, path, NULL);
}

/* ---- PyTorch ---- */

/* Two tensors of one storage, the second turned; attributes as torch.save() adds them. */
static void fill_pickle(test_pickle *p)
{
    static const int64_t shape[] = {2, 2}, dense[] = {2, 1}, turned[] = {1, 2};
    test_pickle_begin(p);
    test_pickle_tensor(p, "generator.a", "FloatStorage", "0", 4, 0, 2, shape, dense);
    test_pickle_tensor(p, "b", "FloatStorage", "0", 4, 0, 2, shape, turned);
    test_pickle_tensor(p, "c", "HalfStorage", "1", 2, 1, 0, NULL, NULL);
    test_pickle_end(p);
}

static void write_torch(const char *corpus)
{
    static test_pickle pickle;
    static test_zip zip;
    static const float values[] = {1, 2, 3, 4};
    static const char code[] = "\x80\x02"
                               "cos\nsystem\nX\1\0\0\0x\x85R.";
    char path[PATH];
    fill_pickle(&pickle);
    write_bytes(place(path, corpus, "pickle", "strided"), pickle.bytes, pickle.n);
    write_bytes(place(path, corpus, "pickle", "code"), code, sizeof code - 1);
    for (int zip64 = 0; zip64 < 2; zip64++) {
        memset(&zip, 0, sizeof zip);
        test_zip_add(&zip, "r/data.pkl", pickle.bytes, pickle.n);
        test_zip_add(&zip, "r/byteorder", "little", 6);
        test_zip_add(&zip, "r/data/0", values, sizeof values);
        test_zip_add(&zip, "r/data/1", "\x00\x3c\x00\xc0", 4);
        test_zip_finish(&zip, zip64);
        write_bytes(place(path, corpus, "torch_zip", zip64 ? "zip64" : "strided"), zip.bytes,
                    zip.n);
    }
}

static sa2_tensor_map *made_of(sa2_tensor_list *list, const char *role)
{
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    insist(sa2_synthetic_map_of(&map, list, role, "o", 0, &err) == SA2_OK, role, &err);
    sa2_tensor_list_destroy(list);
    return map;
}

static void write_vocoder(const char *corpus)
{
    static const sa2_vocoder_dims dims = {.mel = 1, .channels = 8, .f0_channels = 1};
    sa2_tensor_list whole = {0}, list = {0};
    sa2_error err = {0};
    char path[PATH];
    insist(sa2_vocoder_tensors(&whole, &dims, &err) == SA2_OK, "hift", &err);
    for (int i = 0; i < 3; i++)
        sa2_tensor_list_add(&list, SA2_F32, whole.items[i].shape.ndim, whole.items[i].shape.shape,
                            &err, "%s", whole.items[i].name);
    sa2_tensor_list_destroy(&whole);
    sa2_tensor_map *map = made_of(&list, "hift");
    insist(sa2_torch_zip_write(place(path, corpus, "torch_zip", "written"), map,
                               (sa2_write_progress){0}, &err) == SA2_OK,
           path, &err);
    sa2_tensor_map_destroy(map);
}

/* ---- ONNX ---- */

static void write_onnx(const char *corpus)
{
    static const sa2_speech_tokenizer_dims speech = {
        .mel = 1, .width = 2, .ffn = 3, .blocks = 1, .digits = 1, .memory = 1};
    static const sa2_speaker_dims speaker = {.mel = 8,
                                             .head_channels = 1,
                                             .initial = 8,
                                             .growth = 8,
                                             .bottleneck = 1,
                                             .gate = 1,
                                             .layers = {1, 0, 0},
                                             .embedding = 1};
    sa2_tensor_list list = {0};
    sa2_error err = {0};
    char path[PATH];
    insist(sa2_speech_tokenizer_tensors(&list, &speech, &err) == SA2_OK, "speech", &err);
    sa2_tensor_map *map = made_of(&list, "speech_tokenizer");
    insist(sa2_onnx_write(place(path, corpus, "onnx", "speech_tokenizer"),
                          SA2_ONNX_SPEECH_TOKENIZER, map, (sa2_write_progress){0}, &err) == SA2_OK,
           path, &err);
    sa2_tensor_map_destroy(map);
    insist(sa2_speaker_tensors(&list, &speaker, &err) == SA2_OK, "speaker", &err);
    map = made_of(&list, "campplus");
    insist(sa2_onnx_write(place(path, corpus, "onnx", "speaker"), SA2_ONNX_SPEAKER, map,
                          (sa2_write_progress){0}, &err) == SA2_OK,
           path, &err);
    sa2_tensor_map_destroy(map);
}

/* ---- golden cases ---- */

/* With the first n_metadata of the metadata. */
static void write_golden(const char *corpus, const char *name, int n_metadata)
{
    static const sa2_metadata metadata[] = {
        {"case", "c"},
        {"part", "p"},
        {"preset", "tiny"},
        {"seed", "7"},
        {"tolerance", "{\"out.y\": {\"abs\": 1e-05, \"rel\": 0, \"l2\": 0.5}}"},
        {"tolerance_bf16", "{\"out.y\": {\"abs\": 0.1, \"rel\": 0.01}}"},
    };
    static const float values[] = {1, -2, 3, 4};
    char path[PATH];
    sa2_error err = {0};
    sa2_safetensors_writer *writer = NULL;
    sa2_tensor_list list = {0};
    sa2_tensor_list_add(&list, SA2_F32, 1, (int64_t[]){1}, &err, "in.x");
    sa2_tensor_list_add(&list, SA2_F32, 2, (int64_t[]){1, 2}, &err, "out.y");
    sa2_tensor_list_add(&list, SA2_I32, 1, (int64_t[]){1}, &err, "out.ids");
    place(path, corpus, "golden", name);
    sa2_status st = sa2_safetensors_writer_create(&writer, path, &list, metadata, n_metadata, &err);
    if (st == SA2_OK)
        st = sa2_safetensors_writer_append(writer, values, sizeof values, &err);
    if (st == SA2_OK)
        st = sa2_safetensors_writer_finish(writer, &err);
    insist(st == SA2_OK, path, &err);
    sa2_safetensors_writer_destroy(writer);
    sa2_tensor_list_destroy(&list);
}

/* ---- native files ---- */

static void write_native(const char *corpus)
{
    char path[PATH];
    insist(test_native_write(place(path, corpus, "pack", "small")), path, NULL);
}

/* ---- sounds ---- */

static void write_sounds(const char *corpus)
{
    static const struct {
        const char *name;
        int format, channels;
    } sounds[] = {
        {"s16.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 1},
        {"f32.wav", SF_FORMAT_WAV | SF_FORMAT_FLOAT, 2},
        {"s24.aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_24, 1},
        {"s16.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 2},
        {"ulaw.au", SF_FORMAT_AU | SF_FORMAT_ULAW, 1},
    };
    float samples[64];
    for (int i = 0; i < 64; i++)
        samples[i] = (float)(i % 8 - 4) / 8.0f;
    for (size_t i = 0; i < sizeof sounds / sizeof sounds[0]; i++) {
        char path[PATH];
        SF_INFO info = {
            .samplerate = 16000, .channels = sounds[i].channels, .format = sounds[i].format};
        SNDFILE *file = sf_open(place(path, corpus, "sound", sounds[i].name), SFM_WRITE, &info);
        insist(file != NULL && sf_write_float(file, samples, 64) == 64 && sf_close(file) == 0, path,
               NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "write_corpus DIR\n");
        return 2;
    }
    write_torch(argv[1]);
    write_vocoder(argv[1]);
    write_onnx(argv[1]);
    write_golden(argv[1], "whole", 6);
    write_golden(argv[1], "no_tolerance", 2);
    write_native(argv[1]);
    write_sounds(argv[1]);
    return 0;
}
