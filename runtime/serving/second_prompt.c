#include "runtime/serving/second_prompt.h"

#include "tokenizer/think.h"

/* With the first n bytes of the reasoning. */
static sa2_status make(sa2_second_prompt *second, const sa2_prompt_setting *setting,
                       const sa2_job *job, size_t n, sa2_error *err)
{
    sa2_bytes_clear(&second->prefill);
    sa2_think_answer_prefill(setting->template, job->outputs[0].record.text, n, job->thinking.speak,
                             &second->prefill);
    sa2_ids_clear(&second->ids);
    sa2_ids_append_all(&second->ids, job->group.sequences[0].ids, (size_t)job->group.n_prompt);
    sa2_status st = sa2_bytes_status(&second->prefill, err);
    return st == SA2_OK
               ? sa2_prompt_open_turn(&second->ids, setting, sa2_bytes_text(&second->prefill), err)
               : st;
}

sa2_status sa2_second_prompt_make(sa2_second_prompt *second, const sa2_prompt_setting *setting,
                                  const sa2_job *job, sa2_error *err)
{
    const sa2_output_record *reasoning = &job->outputs[0].record;
    size_t n = reasoning->n, most = (size_t)(job->max_positions - job->thinking.answer);
    sa2_status st = make(second, setting, job, n, err);
    while (st == SA2_OK && second->ids.n > most && n > 0) {
        n = n * 7 / 8;
        while (n > 0 && ((unsigned char)reasoning->text[n] & 0xc0) == 0x80)
            n--; /* whole characters */
        st = make(second, setting, job, n, err);
    }
    if (st == SA2_OK && second->ids.n > most)
        st = sa2_fail(err, SA2_ERR_LIMIT, "think: the second prompt has %zu positions, %zu fit",
                      second->ids.n, most);
    return st;
}

void sa2_second_prompt_free(sa2_second_prompt *second)
{
    sa2_bytes_free(&second->prefill);
    sa2_ids_free(&second->ids);
}
