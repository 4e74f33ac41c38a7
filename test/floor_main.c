/*
 * floor_main: linked with one floor whole and the floors below it, so that a
 * call upwards is an undefined reference. There is nothing to run.
 */
#include <stdio.h>

int main(void)
{
	printf("ok 1 - links with the floors below alone\n1..1\n");
	return 0;
}
