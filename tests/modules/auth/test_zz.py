import collections, sys
import tests.modules.auth.test_sessions_machine as m
C=collections.Counter()
orig=m.outcome
def spy(a):
    r=orig(a); f=sys._getframe(1); C[(f.f_code.co_name, r)]+=1; return r
m.outcome=spy
def test_it(own_database_url):
    try:
        m.test_the_model_and_the_api_agree(own_database_url)
    finally:
        with open("/tmp/w/cov.txt","w") as f:
            for k,v in sorted(C.items(),key=str): print(k,v, file=f)
