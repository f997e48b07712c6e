/* Every committed golden case, on every instruction set of this processor: in f32, and in bf16 where
 * the case has a tolerance for it. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/test_files.h"
#include "tools/check_case.h"

typedef struct tally {
    const char *isa;
    const char *path;
    int n_outputs, n_failed;
} tally;

static void note(void *user, const sa2_golden_result *result)
{
    tally *t = user;
    t->n_outputs++;
    if (!result->ok) {
        t->n_failed++;
        printf("%s, %s: out.%s: %s\n", t->path, t->isa, result->name, result->why);
    }
}

static void run_case(tally *t, sa2_backend *backend, sa2_dtype dtype)
{
    char sounds[1024];
    sa2_error err = {0};
    sa2_golden_case *golden;
    if (sa2_golden_case_open(&golden, t->path, &err) != SA2_OK)
        fail_msg("%s", err.message);
    bool recording =
        sa2_golden_text(golden, "wav") != NULL || sa2_golden_text(golden, "messages") != NULL;
    bool known = dtype == SA2_F32 || sa2_golden_text(golden, "tolerance_bf16") != NULL;
    if (known && (!recording || test_shared(sounds, sizeof sounds, "audio"))) {
        sa2_check_context context = {
            .backend = backend, .dtype = dtype, .sounds = recording ? sounds : NULL};
        int n_failed;
        int before = t->n_outputs;
        if (sa2_check_case(golden, &context, note, t, &n_failed, &err) != SA2_OK)
            fail_msg("%s: %s", t->path, err.message);
        if (t->n_outputs == before)
            fail_msg("%s: no output was judged", t->path);
    }
    sa2_golden_case_close(golden);
}

/* All cases of a folder under tests/golden/; at least `least` outputs must have been judged. */
static void run_folder(const char *folder, int least)
{
    static const char *const isas[] = {"c", "avx2", "avx512", "avx512bf16", "amx"};
    char pattern[1024], inside[64];
    snprintf(inside, sizeof inside, "golden/%s/*.safetensors", folder);
    glob_t found;
    assert_int_equal(glob(test_data(pattern, sizeof pattern, inside), 0, NULL, &found), 0);
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
        sa2_backend *backend;
        const sa2_backend_options options = {.device = "cpu", .isa = isas[i]};
        if (sa2_backend_open(&backend, &options, NULL) != SA2_OK)
            continue; /* this processor has no such instructions */
        tally t = {.isa = isas[i]};
        for (size_t k = 0; k < found.gl_pathc; k++) {
            t.path = found.gl_pathv[k];
            run_case(&t, backend, SA2_F32);
            run_case(&t, backend, SA2_BF16);
        }
        assert_int_equal(t.n_failed, 0);
        assert_true(t.n_outputs >= least);
        sa2_backend_close(backend);
    }
    globfree(&found);
}

static void every_case_of_the_language_model_passes(void **state)
{
    (void)state;
    run_folder("language_model", 100);
}

static void every_case_of_token2wav_passes(void **state)
{
    (void)state;
    run_folder("token2wav", 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_of_the_language_model_passes),
        cmocka_unit_test(every_case_of_token2wav_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
