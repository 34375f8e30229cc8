/* A library that can be loaded only after the first one, which it does not find by itself. */
int answer_of_the_first_op(void);

int answer_of_the_second_op(void) { return answer_of_the_first_op(); }
