/* whisper_peer.c - seconds that whisper.cpp takes for its encoder, or for its log-mel.
 *
 *   whisper_peer encoder MODEL THREADS FLASH   one window of 30 s; FLASH 1: fused attention
 *   whisper_peer mel     MODEL THREADS 0       25 s of 16 kHz sound
 *
 * Prints one number, of the run after a warm-up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <whisper.h>

enum { WINDOW_FRAMES = 3000, MEL_SAMPLES = 25 * WHISPER_SAMPLE_RATE };

static void say_nothing(enum ggml_log_level level, const char *text, void *context)
{
    (void)level;
    (void)text;
    (void)context;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *noise(size_t n)
{
    float *values = malloc(n * sizeof *values);
    for (size_t i = 0; values != NULL && i < n; i++)
        values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return values;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 64;
    int threads = atoi(argv[3]), failed = 0;
    bool encoder = strcmp(argv[1], "encoder") == 0;
    double seconds = 0.0;
    whisper_log_set(say_nothing, NULL);
    struct whisper_context_params params = whisper_context_default_params();
    params.use_gpu = false;
    params.flash_attn = argv[4][0] == '1';
    struct whisper_context *whisper = whisper_init_from_file_with_params(argv[2], params);
    if (whisper == NULL) {
        fprintf(stderr, "whisper_peer: %s: cannot be loaded\n", argv[2]);
        return 65;
    }
    int mels = whisper_model_n_mels(whisper);
    float *in = noise(encoder ? (size_t)mels * WINDOW_FRAMES : MEL_SAMPLES);
    failed = in == NULL || (encoder && whisper_set_mel(whisper, in, WINDOW_FRAMES, mels) != 0);
    for (int turn = 0; !failed && turn < 2; turn++) {
        double start = now();
        failed = encoder ? whisper_encode(whisper, 0, threads)
                         : whisper_pcm_to_mel(whisper, in, MEL_SAMPLES, threads);
        seconds = now() - start;
    }
    free(in);
    whisper_free(whisper);
    if (failed) {
        fprintf(stderr, "whisper_peer: %s failed\n", argv[1]);
        return 70;
    }
    printf("%.6f\n", seconds);
    return 0;
}
